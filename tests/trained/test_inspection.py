"""A run shows what its method learned, and so does the command for a run that is there already."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from iapt import load_run
from iapt.backbone.tiny import tiny_tokenizer
from iapt.cli.adapter import main
from iapt.methods.base import Method
from iapt.methods.inspected import Inspectable
from iapt.results.inspection import FILE, MOST_TOKENS, Curve, Functions, read_inspection
from iapt.trained.inspection import inspect
from tests.tiny import new_backbone
from tests.tiny_runs import tiny_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(tmp_path_factory.mktemp("runs"), "method=iapt", "hparams.arch_lr=0.05")


def test_a_run_leaves_its_learned_functions_beside_their_start(run: Path) -> None:
    found = read_inspection(run)
    assert found is not None
    (shown,) = found.functions
    assert [curve.name for curve in shown.curves] == ["blocks 0-3"]
    activation = load_run(run, device="cpu").method.activations[0]
    x, y = zip(*shown.curves[0].points, strict=True)
    assert torch.allclose(activation(torch.tensor(x)).detach(), torch.tensor(y), atol=1e-5)
    assert shown.reference is not None
    x, y = zip(*shown.reference.points, strict=True)
    assert torch.allclose(torch.nn.functional.gelu(torch.tensor(x)), torch.tensor(y), atol=1e-5)


def test_a_run_leaves_the_weights_of_its_poolers_over_the_tokens_of_two_prompts(run: Path) -> None:
    found = read_inspection(run)
    assert found is not None
    assert len(found.prompts) == 2
    for prompt in found.prompts:
        assert list(prompt.weights) == ["all blocks, mean", *(f"block {n}" for n in range(4))]
        assert "sentiment" in "".join(prompt.tokens)
        for weights in prompt.weights.values():
            assert len(weights) == len(prompt.tokens)
            assert sum(weights) == pytest.approx(1, abs=0.01)
        blocks = [prompt.weights[f"block {n}"] for n in range(4)]
        means = torch.tensor(blocks).mean(0)
        assert torch.allclose(means, torch.tensor(prompt.weights["all blocks, mean"]), atol=1e-4)


def test_the_command_writes_the_same_for_a_run_that_left_nothing(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (run / FILE).read_bytes()
    (run / FILE).unlink()
    assert main(["inspect", str(run), "device=cpu"]) == 0
    assert f"{FILE} (iapt-report runs=FOLDER shows it)" in capsys.readouterr().out
    assert (run / FILE).read_bytes() == before


def test_a_method_with_nothing_to_show_leaves_nothing_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = tiny_run(tmp_path, "method=bitfit", "hparams.max_steps=2")
    assert not (plain / FILE).exists()
    assert main(["inspect", str(plain), "device=cpu"]) == 0
    assert "no learned function and no attention" in capsys.readouterr().out
    assert not (plain / FILE).exists()


def test_fixed_activations_are_no_learned_functions(tmp_path: Path) -> None:
    fixed = tiny_run(tmp_path, "method=iapt", "variant=iapt_4", "hparams.max_steps=2")
    found = read_inspection(fixed)
    assert found is not None
    assert (found.functions, len(found.prompts)) == ((), 2)


def test_looking_leaves_no_hook_behind_even_if_it_fails(run: Path) -> None:
    method = load_run(run, device="cpu").method
    assert isinstance(method, Inspectable)
    with pytest.raises(ZeroDivisionError):
        method.attention(lambda: 1 // 0)
    assert not any(module._forward_hooks for module in method.modules())


CURVE = Functions(title="f", x_label="x", y_label="y", curves=(Curve(name="c", points=((0, 0),)),))


class Shown(Method):
    """Shows some functions, and weights over the tokens of each prompt."""

    def __init__(self, functions: Sequence[Functions], weights: Sequence[Sequence[float]]) -> None:
        super().__init__()
        self.found, self.weights = functions, list(weights)
        self.modes: list[tuple[bool, bool]] = []

    def functions(self) -> Sequence[Functions]:
        return self.found

    def attention(self, read: Callable[[], object]) -> Mapping[str, Tensor]:
        read()
        self.modes.append((BACKBONE.model.training, torch.is_grad_enabled()))
        weights = self.weights.pop(0)
        return {"all": torch.tensor(weights)} if weights else {}


BACKBONE = new_backbone("gpt2")


def test_prompts_are_read_without_dropout_and_without_gradients() -> None:
    method = Shown([], [[1.0]])
    BACKBONE.train(True)
    inspect(method, BACKBONE, tiny_tokenizer(), [[5]])
    assert method.modes == [(False, False)]


def test_the_first_prompts_that_are_not_too_long_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iapt.trained.inspection.MOST_TOKENS", 3)
    assert MOST_TOKENS > 3
    prompts = [[4] * 4, [5] * 3, [6] * 4, [7], [8]]
    found = inspect(Shown([], [[1.0], [1.0]]), BACKBONE, tiny_tokenizer(), prompts)
    assert found is not None
    assert [len(prompt.tokens) for prompt in found.prompts] == [3, 1]


def test_functions_alone_or_prompts_alone_are_something_to_show() -> None:
    words = (BACKBONE, tiny_tokenizer(), [[5]])
    found = inspect(Shown([CURVE], [[]]), *words)
    assert found is not None
    assert (len(found.functions), found.prompts) == (1, ())
    found = inspect(Shown([], [[1.0]]), *words)
    assert found is not None
    assert (found.functions, len(found.prompts)) == ((), 1)
    assert inspect(Shown([], [[]]), *words) is None


def test_a_weight_that_rounding_took_past_one_is_one() -> None:
    found = inspect(Shown([], [[1.001, -0.001]]), BACKBONE, tiny_tokenizer(), [[5, 6]])
    assert found is not None
    assert found.prompts[0].weights == {"all": (1.0, 0.0)}
