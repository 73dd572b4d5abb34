"""Counts made without weights, against methods that have been trained, saved and loaded."""

import re

import pytest
import torch

from iapt.cli.configuration import groups
from iapt.methods.base import Method
from iapt.methods.counts import count, sizes
from iapt.plan import build_method
from tests.composed import composed
from tests.methods.short_runs import short_run
from tests.tiny import NAMES, tiny_dims

METHODS = groups()["method"]
SETTLED_BY_TRAINING = {"adalora", "learned_adapter", "ssp"}


def build(name: str, family: str = "llama", *words: str) -> Method:
    return build_method(composed(f"method={name}", *words)["method"], tiny_dims(family))


def on_meta(name: str, family: str = "llama", *words: str) -> Method:
    with torch.device("meta"):
        return build(name, family, *words)


@pytest.mark.parametrize("name", METHODS)
def test_a_trained_saved_and_loaded_method_has_the_sizes_counted_for_it(name, tmp_path):
    counts = count(on_meta(name))
    made = sizes(build(name))
    _, finished, _ = short_run(lambda _: build(name), tmp_path)
    saved = finished.serving_state()
    loaded = build(name)
    loaded.adopt(saved)
    loaded.load_state_dict(saved)

    measured = sizes(finished)
    assert measured.stored == sum(t.numel() for t in saved.values())
    assert measured.active_at_decode == sizes(loaded).active_at_decode
    # What AdaLoRA prunes stays in memory, masked; only the saved adapter is without it.
    left = sizes(loaded).trained if name == "adalora" else measured.trained
    for field, initial, final in (
        ("trained", made.trained, left),
        ("stored", made.stored, measured.stored),
        ("active_at_decode", made.active_at_decode, measured.active_at_decode),
    ):
        at_the_start, fewest, most = counts[field]
        assert initial == at_the_start, field
        assert fewest <= final <= most, field
    assert (len(set(counts["trained"])) > 1) == (name in SETTLED_BY_TRAINING)


def worked_out(reading: str) -> float:
    """The formula of a reading: words go, what is left is arithmetic."""
    formula = re.sub(r"[A-Za-z]+", "", reading.partition(";")[0])
    formula = formula.replace(",", "").replace("×", "*")
    assert re.fullmatch(r"[\d.*+ ]+", formula), reading
    return eval(formula)


@pytest.mark.parametrize("family", NAMES)
@pytest.mark.parametrize("name", METHODS)
def test_a_reading_works_out_to_the_counted_size(name, family):
    method = on_meta(name, family)
    assert round(worked_out(method.reading())) == method.counted_parameters()


@pytest.mark.parametrize(
    "words",
    [
        ("iapt", "variant=iapt_1"),
        ("iapt", "variant=iapt_2"),
        ("iapt", "variant=iapt_4"),
        ("iapt", "variant=iapt_6"),
        ("iapt", "variant=iapt_tied"),
        ("idpg", "variant=idpg_phm"),
        ("idpg", "variant=idpg_phm", "method.multi_layer=true"),
        ("lpt", "method.bias=true"),
        ("houlsby", "method.bias=true"),
        ("adapter_drop", "method.robust=true"),
        ("p_tuning", "method.latent_dim=null"),
        ("p_tuning_v2", "method.latent_dim=null"),
    ],
    ids=" ".join,
)
def test_a_reading_follows_the_numbers(words):
    name, *changes = words
    method = on_meta(name, "llama", *changes)
    assert worked_out(method.reading()) == method.counted_parameters()


@pytest.mark.parametrize("name", sorted(SETTLED_BY_TRAINING))
def test_a_settled_method_is_its_own_ending_and_reads_so(name):
    for ending in on_meta(name).endings():
        assert ending.endings() == [ending]
        assert worked_out(ending.reading()) == ending.counted_parameters()


def test_what_is_not_counted_is_named_with_its_size():
    assert count(on_meta("bitfit"))["reading"].endswith("; not counted: 280 (latent)")
    assert "not counted" not in count(on_meta("lora"))["reading"]
