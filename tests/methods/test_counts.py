"""Sizes measured on modules, and stated by formulas, against methods trained, saved and loaded."""

from dataclasses import replace

import pytest
import torch
import yaml

from iapt.backbone.dims import Dims
from iapt.cli.overrides import CONFIG_DIR, groups
from iapt.entries import build_method
from iapt.methods.base import Method
from iapt.methods.counts import count, sizes
from iapt.methods.searched import adopt, serving_state
from iapt.methods.size_formula import SizeFormula
from tests.composed import composed
from tests.methods.paper_sizes import llama2_7b
from tests.methods.short_runs import short_run
from tests.tiny import NAMES, tiny_dims

METHODS = groups()["method"]
PRUNED = {"adalora", "ssp"}  # their formula says what is left
SETTLED_BY_TRAINING = {*PRUNED, "learned_adapter"}
# What the paper's column leaves out: latent vectors, adapters' biases, logits of a search.
UNCOUNTED = ("latent", "down_bias", "up_bias", "logits")
BACKBONES = {family: tiny_dims(family) for family in NAMES} | {
    name: Dims(**yaml.safe_load((CONFIG_DIR / "backbone" / f"{name}.yaml").read_text())["dims"])
    for name in ("llama2_7b", "gpt2_large", "pythia_1b4", "smollm2_135m")
}


def entry_of(name: str, *words: str) -> dict[str, object]:
    entry: dict[str, object] = composed(f"method={name}", *words)["method"]
    return entry


def on_meta(entry: dict[str, object], dims: Dims) -> Method:
    with torch.device("meta"):
        return build_method(entry, dims)


def stated(entry: dict[str, object], dims: Dims) -> int:
    return SizeFormula(entry["size"], dims, entry).value()


def weights(method: Method) -> int:
    """Trained parameters under the rule of the paper's column."""
    return sum(
        p.numel()
        for name, p in method.named_parameters()
        if name.rpartition(".")[2] not in UNCOUNTED
    )


@pytest.mark.parametrize("name", METHODS)
def test_a_trained_saved_and_loaded_method_has_the_sizes_counted_for_it(name, tmp_path):
    entry, dims = entry_of(name), tiny_dims("llama")
    counts = count(on_meta(entry, dims), dims, entry)
    made = sizes(build_method(entry, dims))
    _, finished, _ = short_run(lambda _: build_method(entry, dims), tmp_path)
    saved = serving_state(finished)
    loaded = build_method(entry, dims)
    adopt(loaded, saved)
    loaded.load_state_dict(saved)

    measured = sizes(finished)
    assert measured.stored == sum(t.numel() for t in saved.values())
    assert measured.active_at_decode == sizes(loaded).active_at_decode
    for field, initial, final in (
        ("trained", made.trained, measured.trained),
        ("stored", made.stored, measured.stored),
        ("active_at_decode", made.active_at_decode, measured.active_at_decode),
    ):
        at_the_end = counts["counted"] if name in SETTLED_BY_TRAINING else final
        assert counts[field] == [initial, at_the_end], field


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("name", METHODS)
def test_a_files_formula_states_the_weights_that_are_made(name, backbone):
    entry, dims = entry_of(name), BACKBONES[backbone]
    method = on_meta(entry, dims)
    if name == "adalora":  # P and Q of the target rank, without lambda
        made = sum(p.numel() for n, p in method.named_parameters() if not n.endswith("lora_E"))
        assert stated(entry, dims) == made * entry["target_rank"] / entry["init_rank"]
    elif name == "ssp":
        assert stated(entry, dims) == method.budget
    else:
        assert stated(entry, dims) == weights(method)


@pytest.mark.parametrize(
    "words",
    [
        *[("iapt", f"variant={v}") for v in groups()["variant"] if v.startswith("iapt")],
        ("iapt", "variant=iapt_4", "method.tie_projections=true"),
        ("iapt", "method.share_every=2", "method.prompt_len=7"),
        ("idpg", "variant=idpg_phm"),
        ("idpg", "variant=idpg_phm", "method.multi_layer=true"),
        ("lpt", "method.bias=true"),
        ("houlsby", "method.bias=true", "method.bottleneck_dim=3"),
        ("adapter_drop", "method.robust=true"),
        ("adapter_drop", "method.drop_layers=3"),
        ("lora", "method.rank=7"),
    ],
    ids=" ".join,
)
def test_a_formula_follows_the_numbers(words):
    entry, dims = entry_of(*words), tiny_dims("llama")
    assert stated(entry, dims) == weights(on_meta(entry, dims))


def test_thirteen_of_the_fifteen_lines_are_as_printed():
    printed = {
        "houlsby": 9.4, "parallel_adapter": 9.4, "adapter_drop": 9.2, "learned_adapter": 9.5, "lora": 10.0,
        "adalora": 10.0, "bitfit": 10.9, "ia3": 9.8, "ssp": 8.6, "p_tuning": 9.4, "p_tuning_v2": 9.4,
        "idpg": 8.4, "lpt": 8.4, "iapt": 8.4, "iapt_8m": 8.4,
    }  # fmt: skip
    ours = {name: round(stated(entry_of(name), llama2_7b()) / 1e6, 2) for name in printed}
    others = {name: size for name, size in ours.items() if round(size, 1) != printed[name]}
    assert others == {"adapter_drop": 9.14, "iapt": 16.81}


def test_a_reading_shows_the_formula_and_its_numbers():
    entry = entry_of("lora")
    reading = count(on_meta(entry, llama2_7b()), llama2_7b(), entry)["reading"]
    assert reading == "L × rank × in_out = 32 × 4 × 78,080"


def test_a_method_that_states_no_size_counts_what_it_trains():
    entry, dims = entry_of("bitfit"), tiny_dims("llama")
    del entry["size"]
    counts = count(on_meta(entry, dims), dims, entry)
    assert counts["reading"] == ""
    assert counts["trained"] == [counts["counted"]] * 2


def test_a_frozen_parameter_is_stored_and_used_but_not_trained():
    method = build_method(entry_of("lora"), tiny_dims("llama"))
    before = sizes(method)
    for name, p in method.named_parameters():
        p.requires_grad_("lora_A" not in name)
    frozen = sum(p.numel() for p in method.parameters() if not p.requires_grad)
    assert sizes(method) == replace(before, trained=before.trained - frozen)
