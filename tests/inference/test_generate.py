"""Decoding against `generate` of transformers, token for token, and against a search of our own."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

from iapt.backbone.base import Backbone
from iapt.backbone.dims import FAMILIES
from iapt.backbone.tiny import tiny_tokenizer
from iapt.errors import BackboneError
from iapt.inference.generate import decode, decode_batch
from iapt.methods.iapt import IAPT
from iapt.methods.lora import LoRA
from tests.peft_twin import peft_twin
from tests.tiny import PAD, VOCAB, new_backbone, padded, shared_backbone, tiny_dims

NEW = 8
NEVER = 10**6
LENGTHS = (5, 11, 3, 8, 4)


def rows(seed: int = 0) -> list[list[int]]:
    draw = torch.Generator().manual_seed(seed)
    return [[0, *torch.randint(3, VOCAB, (n,), generator=draw).tolist()] for n in LENGTHS]


def ours(backbone: Backbone, texts: list[list[int]], beams: int, eos: int, side: str) -> Tensor:
    ids, mask = padded(texts, side)
    return decode_batch(
        backbone,
        ids,
        mask,
        num_beams=beams,
        max_new_tokens=NEW,
        eos_token_id=eos,
        pad_token_id=PAD,
    )


def hugging_faces(model: Any, texts: list[list[int]], beams: int, eos: int) -> Tensor:
    ids, mask = padded(texts, "left")
    out = model.generate(
        input_ids=ids,
        attention_mask=mask.long(),
        num_beams=beams,
        max_new_tokens=NEW,
        do_sample=False,
        eos_token_id=eos,
        pad_token_id=PAD,
    )
    return out[:, ids.shape[1] :]


def lengths(answers: Tensor, eos: int) -> list[int]:
    return [row.index(eos) + 1 if eos in row else len(row) for row in answers.tolist()]


def a_telling_end(model: Any, texts: list[list[int]], beams: int) -> int:
    """The token that, as end token, makes the answers' lengths differ most."""
    free = hugging_faces(model, texts, beams, NEVER)
    return max(set(free.flatten().tolist()), key=lambda t: (len(set(lengths(free, t))), t))


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_bare_texts_are_generates_token_for_token(family: str, beams: int):
    backbone = shared_backbone(family)
    backbone.detach()
    texts = rows()
    eos = a_telling_end(backbone.model, texts, beams)
    expected = hugging_faces(backbone.model, texts, beams, eos)
    assert len(set(lengths(expected, eos))) > 1, "every answer ends at once; the test shows little"
    for side in ("left", "right"):
        assert torch.equal(ours(backbone, texts, beams, eos, side), expected)


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_texts_with_lora_are_those_of_peft(family: str, beams: int):
    backbone = shared_backbone(family)
    backbone.detach()
    torch.manual_seed(2)
    method = LoRA(backbone.dims)
    with torch.no_grad():
        for p in method.parameters():
            p.copy_(0.3 * torch.randn_like(p))
    twin, _ = peft_twin(new_backbone(family).model, method)
    texts = rows(1)
    eos = a_telling_end(twin, texts, beams)
    expected = hugging_faces(twin, texts, beams, eos)
    assert len(set(lengths(expected, eos))) > 1
    bare = ours(backbone, texts, beams, eos, "left")
    method.attach(backbone)
    found = ours(backbone, texts, beams, eos, "left")
    backbone.detach()
    assert torch.equal(found, expected)
    assert not torch.equal(found, bare)


def beam_search(backbone: Backbone, text: list[int], beams: int, eos: int) -> list[int]:
    """One row, nothing cached: sums of log-probabilities, finished ones divided by their length.

    As in transformers with early_stopping=False: of the 2 * beams best continuations, those that end
    count only among the first `beams`; the search stops when the best running sum, at its present
    length, cannot beat the worst of `beams` finished ones.
    """

    def next_log_probs(answer: list[int]) -> Tensor:
        ids = torch.tensor([[*text, *answer]])
        seen = torch.arange(ids.shape[1])[None] < len(text)
        with torch.no_grad():
            return backbone(ids, None, seen)[0, -1].log_softmax(-1)

    running: list[tuple[float, list[int]]] = [(0.0, [])]
    finished: list[tuple[float, list[int]]] = []
    for length in range(1, NEW + 1):
        options = [
            (score + float(p), [*answer, token])
            for score, answer in running
            for token, p in enumerate(next_log_probs(answer))
        ]
        options = sorted(options, key=lambda o: -o[0])[: 2 * beams]
        ends = [o[1][-1] == eos or length == NEW for o in options]
        finished += [
            (o[0] / length, o[1])
            for o, end in zip(options[:beams], ends[:beams], strict=True)
            if end
        ]
        finished = sorted(finished, key=lambda o: -o[0])[:beams]
        running = [o for o, end in zip(options, ends, strict=True) if not end][:beams]
        if not running or (len(finished) == beams and running[0][0] / length <= finished[-1][0]):
            break
    return finished[0][1]


@pytest.mark.parametrize("beams", [2, 3, 5])
def test_beams_are_those_of_a_search_written_here(beams: int):
    """With a prompt method attached, which no other library can decode for us."""
    backbone = shared_backbone("llama")
    backbone.detach()
    torch.manual_seed(4)
    method = IAPT(backbone.dims, bottleneck_dim=16, init_std=0.3).eval()
    method.attach(backbone)
    texts = rows(2)
    free = ours(backbone, texts, beams, NEVER, "right")
    eos = max(set(free.flatten().tolist()), key=lambda t: (len(set(lengths(free, t))), t))
    found = ours(backbone, texts, beams, eos, "right")
    ends = lengths(found, eos)
    assert len(set(ends)) > 1
    for text, answer, n in zip(texts, found.tolist(), ends, strict=True):
        assert answer[:n] == beam_search(backbone, text, beams, eos)
    backbone.detach()


def test_the_end_token_can_be_held_back():
    backbone = shared_backbone("llama")
    backbone.detach()
    ids, mask = padded(rows())
    eos = int(ours(backbone, rows(), 3, NEVER, "right")[0, 0])
    for at_least, shortest in ((None, 1), (5, 5), (NEW, NEW)):
        out = decode_batch(
            backbone,
            ids,
            mask,
            num_beams=3,
            max_new_tokens=NEW,
            eos_token_id=eos,
            pad_token_id=PAD,
            min_new_tokens=at_least,
        )
        # An end token may stand at position min_new_tokens + 1 at the earliest.
        held = 0 if at_least is None else at_least
        assert not (out[:, :held] == eos).any()
        assert out.shape[1] >= shortest


class Words:
    """The tokenizer's end and pad tokens, and its text for a token."""

    def __init__(self, eos: int) -> None:
        self.eos_token_id, self.pad_token_id = eos, PAD

    def batch_decode(self, batch: Tensor, skip_special_tokens: bool) -> list[str]:
        assert skip_special_tokens
        special = (self.eos_token_id, self.pad_token_id)
        return [" ".join(str(t) for t in row if t not in special) for row in batch.tolist()]


@pytest.mark.parametrize("beams", [1, 3])
def test_texts_come_back_in_order_whatever_the_batches(beams: int):
    backbone = shared_backbone("gpt2")
    backbone.detach()
    texts = rows(3)
    words = Words(a_telling_end(backbone.model, texts, beams))
    done: list[int] = []

    def all_texts(budget: int) -> list[str]:
        done.clear()
        return decode(
            backbone,
            texts,
            words,
            num_beams=beams,
            max_new_tokens=NEW,
            batch_tokens=budget,
            on_batch=done.append,
        )

    alone = all_texts(1)
    assert done == [1] * len(texts)
    assert len(set(alone)) > 1
    for budget in (60 * beams, 10**6):
        assert all_texts(budget) == alone
        assert sum(done) == len(texts)
    assert done == [len(texts)]


@pytest.mark.parametrize("beams", [1, 3])
def test_every_beam_and_the_longest_answer_count_against_a_batchs_budget(beams: int):
    backbone = shared_backbone("gpt2")
    backbone.detach()
    texts = [rows()[0][:4] for _ in range(4)]
    row = 4 + NEW * beams  # the beams share the instruction
    for budget, batches in ((2 * row, [2, 2]), (2 * row - 1, [1] * 4)):
        done: list[int] = []
        decode(
            backbone,
            texts,
            Words(1),
            num_beams=beams,
            max_new_tokens=NEW,
            batch_tokens=budget,
            on_batch=done.append,
        )
        assert done == batches


def test_instructions_of_like_length_share_a_batch():
    backbone = shared_backbone("gpt2")
    backbone.detach()
    row = rows()[1]
    groups: list[list[int]] = []

    def serving(group: Sequence[int]) -> AbstractContextManager[None]:
        groups.append(list(group))
        return nullcontext()

    decode(
        backbone, [row[:9], row[:2], row[:9], row[:2]], Words(1), num_beams=1, max_new_tokens=2,
        batch_tokens=22, serving=serving,
    )  # fmt: skip
    assert groups == [[1, 3], [0, 2]]


def test_nothing_to_decode_is_no_text():
    backbone = shared_backbone("llama")
    assert decode(backbone, [], Words(1), num_beams=3, max_new_tokens=2, batch_tokens=9) == []


def test_special_tokens_do_not_reach_the_text():
    tokenizer = tiny_tokenizer()
    backbone = shared_backbone("llama")
    backbone.detach()
    texts = decode(backbone, rows(), tokenizer, num_beams=1, max_new_tokens=3, batch_tokens=999)
    assert not any("<pad>" in text or "</s>" in text for text in texts)


def test_an_answer_beyond_the_last_position_is_refused_before_any_token():
    longest = tiny_dims("gpt2").max_positions
    backbone = shared_backbone("gpt2")
    backbone.detach()
    ids = torch.full((2, longest), 5)
    mask = torch.ones_like(ids, dtype=torch.bool)
    mask[:, :3] = False  # padding takes no positions

    def run(new: int) -> Tensor:
        return decode_batch(
            backbone,
            ids,
            mask,
            num_beams=1,
            max_new_tokens=new,
            eos_token_id=NEVER,
            pad_token_id=PAD,
        )

    assert run(4).shape == (2, 4)
    with pytest.raises(BackboneError, match=rf"max_new_tokens=5 need {longest + 1} positions"):
        run(5)


def test_decoding_is_done_without_dropout():
    backbone = new_backbone("gpt2")
    for module in backbone.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.9
    backbone.train(True)
    options = {"num_beams": 1, "max_new_tokens": 3, "batch_tokens": 999}
    first = decode(backbone, rows(), Words(NEVER), **options)
    assert first == decode(backbone, rows(), Words(NEVER), **options)
    assert not backbone.model.training
