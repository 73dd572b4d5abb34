"""Training on a device: every method learns over a bfloat16 backbone, and checkpoints move between devices."""

from pathlib import Path

import pytest
import torch

from iapt.inference.efficiency import timed
from iapt.training.hparams import HParams
from iapt.training.state import Run
from tests.gpu.on_devices import CASES, DEVICES, STAND_IN, backbone_on, method_on
from tests.gpu.stand_in import stand_in
from tests.tiny import data

NUMBERS = {
    "lr": 1e-3,
    "arch_lr": 1e-3,
    "max_steps": 6,
    "max_epochs": 6,
    "batch_size": 4,
    "warmup": 0.0,
}


def run_on(
    device: str, family: str, name: str, dtype: torch.dtype = torch.float32, **numbers: object
) -> Run:
    backbone = backbone_on(device, family, dtype)
    method = method_on(backbone, name)
    method.attach(backbone)
    return Run(backbone, method, data(), data(1), HParams("x", **(NUMBERS | numbers)), 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(("device", "family", "name"), CASES, indirect=["device"])
def test_a_method_learns_over_a_bfloat16_backbone(device: str, family: str, name: str) -> None:
    run = run_on(device, family, name, torch.bfloat16, arch_lr=0.0)
    before = {k: v.clone() for k, v in run.method.state_dict().items()}
    losses = [run.one_step() for _ in range(6)]
    assert all(torch.isfinite(torch.tensor(losses)))
    moved = [k for k, v in run.method.named_parameters() if not torch.equal(v, before[k])]
    assert moved
    assert losses[-1] < losses[0]
    assert all(p.dtype == torch.float32 for p in run.method.parameters())


@pytest.mark.parametrize("device", DEVICES, indirect=True)
def test_gradient_checkpointing_gives_the_same_loss(device: str) -> None:
    losses = []
    for on in (False, True):
        run = run_on(device, "llama", "iapt")
        run.backbone.checkpointing = on
        losses.append([run.one_step() for _ in range(2)])
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


@pytest.mark.parametrize("device", DEVICES, indirect=True)
@pytest.mark.parametrize("name", ["iapt", "lora", "ssp", "adalora"])
def test_a_checkpoint_moves_to_the_cpu_and_back(device: str, name: str, tmp_path: Path) -> None:
    first, second = device, "cpu"
    for turn in range(2):
        path = tmp_path / f"{turn}.safetensors"
        run = run_on(first, "llama", name)
        run.one_step()
        run.evaluate()
        run.save(path, "it")
        other = run_on(second, "llama", name)
        other.resume(path, "it")
        for (key, a), (_, b) in zip(
            run.method.state_dict().items(), other.method.state_dict().items(), strict=True
        ):
            assert torch.equal(a.cpu(), b.cpu()), key
        losses = []
        for one in (run, other):
            torch.manual_seed(0)  # some methods draw at the start of a step
            losses.append(one.one_step())
        assert losses[0] == pytest.approx(losses[1], abs=1e-3)
        first, second = second, first


@STAND_IN
def test_a_checkpoint_keeps_the_random_state_of_its_runs_gpu_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stand_in():
        kept: list[torch.device] = []
        restored: list[torch.device] = []
        state = torch.get_rng_state()
        monkeypatch.setattr(torch.cuda, "get_rng_state", lambda of: kept.append(of) or state)
        monkeypatch.setattr(torch.cuda, "set_rng_state", lambda _, of: restored.append(of))
        for device in ("cpu", "cuda"):
            run = run_on(device, "llama", "ia3")
            run.one_step()
            run.save(tmp_path / f"{device}.safetensors", "it")
        for device in ("cpu", "cuda"):
            run_on(device, "llama", "ia3").resume(tmp_path / "cuda.safetensors", "it")
    assert kept == restored == [torch.device("cuda", 0)]


@pytest.mark.parametrize("device", ["cpu", *DEVICES[1:]], indirect=True)
def test_peak_memory_is_that_of_the_device(device: str) -> None:
    where = torch.device(device)
    _, peak = timed(lambda: torch.ones(2**20, device=where).sum(), where)
    assert peak >= 4
