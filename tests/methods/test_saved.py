"""A saved adapter: whole or not at all, checked before it is believed, refused by name where it does not fit."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from iapt.errors import AdapterError
from iapt.methods.adalora import AdaLoRA
from iapt.methods.learned_adapter import LearnedAdapterReimpl
from iapt.methods.lora import LoRA
from iapt.methods.saved import (
    FLOATS,
    AdapterConfig,
    check_digest,
    fit,
    read_config,
    read_finite,
    save_adapter,
    with_infinities,
)
from iapt.methods.searched import pending_search, serving_state
from iapt.methods.ssp import SSP
from tests.tiny import tiny_dims

CONFIG = AdapterConfig(
    method={"_target_": "iapt.methods.lora.LoRA", "rank": 2},
    backbone={"name": "tiny"},
    backbone_fingerprint="f",
    revision="random",
)


def method(rank: int = 2) -> LoRA:
    torch.manual_seed(0)
    return LoRA(tiny_dims("gpt2"), rank=rank)


def saved(folder: Path) -> dict[str, torch.Tensor]:
    save_adapter(folder, method(), CONFIG)
    return load_file(folder / "adapter.safetensors")


def test_what_is_saved_comes_back(tmp_path: Path):
    tensors = saved(tmp_path / "new" / "adapter")
    found = read_finite(tmp_path / "new" / "adapter" / "adapter.safetensors")
    assert found.keys() == tensors.keys() == method().state_dict().keys()
    config = read_config(tmp_path / "new" / "adapter")
    assert config.model_copy(update={"digest": ""}) == CONFIG
    check_digest(config, found, tmp_path)
    names = sorted(p.name for p in (tmp_path / "new" / "adapter").iterdir())
    assert names == ["adapter.safetensors", "adapter_config.json"], "no other file stays"


def test_every_fault_of_an_adapter_is_named(tmp_path: Path):
    tensors = saved(tmp_path)
    names = list(tensors)
    del tensors[names[0]]
    tensors[names[1]] = torch.zeros(9, 9)
    tensors["model.extra"] = torch.zeros(1)
    fresh = method()
    before = {k: v.clone() for k, v in fresh.state_dict().items()}
    with pytest.raises(AdapterError) as caught:
        fit(fresh, tensors, tmp_path)
    message = str(caught.value)
    assert f"tensor {names[0]} is missing" in message
    assert f"tensor {names[1]} has shape (9, 9), here it is" in message
    assert "tensor model.extra is not part of this method" in message
    assert "\n" not in message
    for name, tensor in fresh.state_dict().items():
        assert torch.equal(tensor, before[name]), "nothing is loaded of what does not fit"


def test_many_faults_are_one_line_with_their_number(tmp_path: Path):
    extra = {f"line {n}\nanother": torch.zeros(1) for n in range(30)}
    with pytest.raises(AdapterError) as caught:
        fit(method(), saved(tmp_path) | extra, tmp_path)
    message = str(caught.value)
    assert "'line 0\\nanother' is not part of this method" in message
    assert message.endswith(" and 27 more.")
    assert "\n" not in message


def test_a_value_that_changed_after_saving_is_noticed(tmp_path: Path):
    tensors = saved(tmp_path)
    next(iter(tensors.values()))[0, 0] += 1
    with pytest.raises(AdapterError, match=r"adapter\.safetensors has changed since .*force=true"):
        check_digest(read_config(tmp_path), tensors, tmp_path)
    check_digest(CONFIG, tensors, tmp_path)  # an older version wrote no digest


def test_another_rank_is_another_shape(tmp_path: Path):
    with pytest.raises(AdapterError, match=r"has shape \(2, 32\), here it is \(3, 32\)"):
        fit(method(rank=3), saved(tmp_path), tmp_path)


@pytest.mark.parametrize("content", [None, b"{", b"\xff\xfe{}"])
def test_half_an_adapter_is_none(tmp_path: Path, content: bytes | None):
    saved(tmp_path)
    for name in ("adapter_config.json", "adapter.safetensors"):
        (tmp_path / name).unlink()
        if content is not None:
            (tmp_path / name).write_bytes(content)
    with pytest.raises(AdapterError, match="is not a saved adapter"):
        read_config(tmp_path)
    with pytest.raises(AdapterError, match="cannot be read"):
        read_finite(tmp_path / "adapter.safetensors")


GOOD = CONFIG.model_dump()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "must be a mapping"),
        ("null", "must be a mapping"),
        ("3", "must be a mapping"),
        ("[" * 100_000, "is not a saved adapter"),
        (json.dumps(GOOD | {"method": ["rank"]}), "method"),
        (json.dumps(GOOD | {"backbone_fingerprint": 7}), "backbone_fingerprint=7: must be text"),
        (json.dumps(GOOD | {"format": 2}), "format=2"),
        (json.dumps(GOOD | {"decoding": {"num_beams": 10**12}}), "decoding.num_beams"),
        (json.dumps(GOOD | {"decodin": {}}), "decodin: unknown.*'decoding'"),
        (
            json.dumps({k: v for k, v in GOOD.items() if k != "format"}),
            "format: missing.*iapt-train",
        ),
        (json.dumps({"peft_type": "LORA"}), "of the peft library.*iapt-adapter import"),
    ],
    ids=lambda value: value[:30],
)
def test_a_damaged_configuration_is_refused_in_one_line(text: str, message: str, tmp_path: Path):
    saved(tmp_path)
    (tmp_path / "adapter_config.json").write_text(text)
    with pytest.raises(AdapterError, match=message) as caught:
        read_config(tmp_path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, 1e300])
def test_values_that_are_not_finite_are_refused(value: float, tmp_path: Path):
    tensors = {name: t.double() for name, t in saved(tmp_path).items()}
    next(iter(tensors.values()))[0, 0] = value
    save_file(tensors, tmp_path / "adapter.safetensors")
    with pytest.raises(AdapterError, match=r"not finite in float32: blocks\.0\.\w+\.lora_A\."):
        read_finite(tmp_path / "adapter.safetensors")


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_a_dtype_of_too_few_bits_is_refused_by_name(dtype: torch.dtype, tmp_path: Path):
    tensors = {name: t.to(dtype) for name, t in saved(tmp_path).items()}
    save_file(tensors, tmp_path / "adapter.safetensors")
    with pytest.raises(AdapterError, match=r"A is float8_\w+; allowed are float64, .*bfloat16\."):
        read_finite(tmp_path / "adapter.safetensors")


@pytest.mark.parametrize("dtype", FLOATS)
def test_other_floating_point_dtypes_are_read(dtype: torch.dtype, tmp_path: Path):
    tensors = {name: t.to(dtype) for name, t in saved(tmp_path).items()}
    save_file(tensors, tmp_path / "adapter.safetensors")
    fit(method(), read_finite(tmp_path / "adapter.safetensors"), tmp_path)


class Masked(LoRA):
    """LoRA with a mask of infinities."""

    def __init__(self, dims) -> None:
        super().__init__(dims)
        self.register_buffer("mask", torch.full((3, 3), -torch.inf).triu(1))
        self.register_buffer("mean", torch.zeros(3))


@pytest.mark.parametrize(
    ("name", "value", "refused"),
    [("mask", torch.inf, False), ("mask", torch.nan, True), ("mean", torch.inf, True)],
)
def test_a_buffer_that_is_made_with_infinities_keeps_them(name, value, refused, tmp_path: Path):
    made = Masked(tiny_dims("gpt2"))
    getattr(made, name).view(-1)[0] = value
    save_adapter(tmp_path, made, CONFIG)
    fresh, file = Masked(tiny_dims("gpt2")), tmp_path / "adapter.safetensors"
    with pytest.raises(AdapterError, match="not finite in float32: ") if refused else nullcontext():
        fit(fresh, read_finite(file, with_infinities(fresh)), tmp_path)
        assert torch.equal(fresh.mask, made.mask)


def changed(tensors: dict[str, torch.Tensor], ending: str, new: torch.Tensor) -> str:
    name = next(name for name in tensors if name.endswith(ending))
    tensors[name] = new
    return name


def settled(made: Any) -> dict[str, torch.Tensor]:
    if pending_search(made):
        made.end_search()
    return {k: v.clone() for k, v in serving_state(made).items()}


DAMAGE = {
    "whole numbers": (LoRA, "lora_A", torch.zeros(4, 32, dtype=torch.int32)),
    "one axis": (LoRA, "lora_A", torch.zeros(128)),
    "ranks that differ within a map": (AdaLoRA, "lora_E", torch.zeros(2, 1)),
    "a rank above any": (AdaLoRA, "lora_A", torch.zeros(500, 32)),
    "a choice of two axes": (LearnedAdapterReimpl, ".choice", torch.zeros(3, 3, dtype=torch.int64)),
    "a choice that is none": (LearnedAdapterReimpl, ".choice", torch.tensor(99)),
    "a choice one past the last": (LearnedAdapterReimpl, "phi.choice", torch.tensor(6)),
    "a choice left open": (LearnedAdapterReimpl, ".choice", torch.tensor(-1)),
    "no rows": (SSP, "kept", torch.zeros(0, dtype=torch.bool)),
    "numbers for a mask": (SSP, "kept", torch.ones(4)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_structure_that_no_training_leaves_is_refused_by_name(damage: str, tmp_path: Path):
    kind, ending, new = DAMAGE[damage]
    dims = tiny_dims("llama")
    tensors = settled(kind(dims))
    changed(tensors, ending, new)
    with pytest.raises(AdapterError, match="does not fit"):
        fit(kind(dims), tensors, tmp_path)
