"""When a GPU's memory runs out: smaller passes, the same step."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest
import torch

from iapt.backbone.base import Backbone
from iapt.data.batches import Budget
from iapt.errors import IaptError
from iapt.inference import generate
from iapt.methods.iapt import IAPT
from iapt.training import step
from iapt.training.hparams import HParams
from iapt.training.state import Run
from iapt.training.step import evaluate, weight_step
from tests.tiny import data, new_backbone

ALL = [0, 1, 2, 3]
NUMBERS = {"max_steps": 3, "max_epochs": 3, "batch_size": 4, "batch_tokens": 1000}


@contextmanager
def memory_for(tokens: int, *, late: bool = False) -> Iterator[list[int]]:
    """Inside, a pass over more padded tokens is out of memory; yields the sizes that were tried."""
    tried: list[int] = []
    whole = step.response
    grad = torch.autograd.grad

    def limited(backbone, batch, eos):  # type: ignore[no-untyped-def]
        tried.append(batch.input_ids.numel())
        if tried[-1] > tokens and not late:
            raise torch.OutOfMemoryError("no memory")
        return whole(backbone, batch, eos)

    def backward(*args, **kwargs):  # type: ignore[no-untyped-def]
        if tried[-1] > tokens:
            raise torch.OutOfMemoryError("no memory")
        return grad(*args, **kwargs)

    with patch.object(step, "response", limited):
        if late:
            with patch.object(torch.autograd, "grad", backward):
                yield tried
        else:
            yield tried


def new_run() -> Run:
    torch.manual_seed(0)
    backbone = new_backbone("llama")
    method = IAPT(backbone.dims, bottleneck_dim=8, init_std=0.2)
    method.attach(backbone)
    return Run(backbone, method, data(), data(1), HParams("x", **NUMBERS), 0)  # type: ignore[arg-type]


@pytest.mark.parametrize("late", [False, True])
def test_a_step_that_ran_out_of_memory_leaves_the_gradient_of_the_whole_batch(
    late: bool, capsys: pytest.CaptureFixture[str]
):
    run = new_run()
    loss = weight_step(run.backbone, run.method, data(), ALL, 10**6)
    whole = {name: p.grad for name, p in run.method.named_parameters() if p.grad is not None}
    budget = Budget(10**6, "hparams.batch_tokens")
    with memory_for(20, late=late) as tried:
        found = weight_step(run.backbone, run.method, data(), ALL, budget)
    assert found == pytest.approx(loss, rel=1e-6)
    for name, p in run.method.named_parameters():
        if name in whole:
            torch.testing.assert_close(p.grad, whole[name], atol=1e-6, rtol=1e-4)
    assert tried[0] == 44, "four examples of up to eleven tokens"
    assert budget.tokens == 11
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(
        "Out of GPU memory with 4 examples of up to 11 tokens; continuing with hparams.batch_tokens=22."
    )
    assert len(said) == 2


def test_the_smaller_budget_stays():
    run = new_run()
    with memory_for(22) as tried:
        run.one_step()
        first = len(tried)
        run.one_step()
    assert max(tried[first:]) <= 22
    assert run.budget.tokens == 22
    assert run.hparams.batch_tokens == 1000, "what was configured is what is written down"


def test_evaluation_goes_on_too_and_counts_no_example_twice():
    run = new_run()
    whole = evaluate(run.backbone, run.method, data(), 10**6)
    with memory_for(12):
        assert evaluate(run.backbone, run.method, data(), 10**6) == pytest.approx(whole)


def test_one_example_that_does_not_fit_is_an_error_that_says_what_helps():
    run = new_run()
    with memory_for(1), pytest.raises(IaptError, match=r"one example of .*gradient_checkpointing"):
        run.one_step()


def test_other_errors_are_not_taken_for_it():
    def broken(group: list[int]) -> None:
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        Budget(10).each([0], [1], broken)


def test_decoding_goes_on_with_smaller_batches():
    class Words:
        pad_token_id, eos_token_id = 2, 1

        @staticmethod
        def batch_decode(new, skip_special_tokens):  # type: ignore[no-untyped-def]
            return [str(row.tolist()) for row in new]

    backbone = new_backbone("llama")
    instructions = [t.instruction for t in data().examples]
    options = {"num_beams": 1, "max_new_tokens": 3, "batch_tokens": 1000}
    whole = generate.decode(backbone, instructions, Words, **options)  # type: ignore[arg-type]
    batch = generate.decode_batch
    sizes: list[int] = []

    def limited(backbone, ids, *args, **kwargs):  # type: ignore[no-untyped-def]
        sizes.append(len(ids))
        if len(ids) > 2:
            raise torch.OutOfMemoryError("no memory")
        return batch(backbone, ids, *args, **kwargs)

    with patch.object(generate, "decode_batch", limited):
        found = generate.decode(backbone, instructions, Words, **options)  # type: ignore[arg-type]
    assert found == whole
    assert sizes == [4, 2, 2]


def test_a_long_row_does_not_pad_the_short_ones_on_a_cpu():
    """Padding that takes longer than a pass of its own is avoided; a GPU still has one pass."""
    rows = data(lengths=((5, 2), (5, 3), (6, 2), (90, 2)))
    run = new_run()
    run.full_train = rows
    run.prepare()
    with memory_for(10**6) as tried:
        run.one_step()
    assert sorted(tried) == [24, 44, 92], (
        "the short ones, the step of Θ on other rows, the long one"
    )
    with patch.object(Backbone, "device", torch.device("cuda")):
        assert (
            Run(run.backbone, run.method, rows, rows, run.hparams, 0).budget._most_padding is None
        )
