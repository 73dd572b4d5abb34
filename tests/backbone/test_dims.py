"""Sizes and names of a block's linear maps."""

import pytest

from iapt.backbone.dims import Dims
from iapt.configuration.checking import checked
from iapt.errors import ConfigError
from tests.composed import composed
from tests.tiny import tiny_dims

LLAMA = composed("backbone=llama2_7b")["backbone"]["dims"]


def test_widths_of_the_seven_linears_add_up_to_the_papers_sum():
    dims = Dims(**LLAMA)
    assert dims.linears == dims.sites == ("q", "k", "v", "o", "gate", "up", "down")
    assert sum(sum(dims.in_out(site)) for site in dims.linears) == 78_080
    assert sum(dims.in_out(site)[1] for site in dims.linears) == 42_496


def test_grouped_queries_narrow_keys_and_values():
    dims = tiny_dims("llama")
    assert dims.in_out("q") == dims.in_out("o") == (32, 32)
    assert dims.in_out("k") == dims.in_out("v") == (32, 16)


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox"])
def test_fused_families_have_one_module_for_q_k_v(family: str):
    dims = tiny_dims(family)
    assert dims.linears == ("qkv", "o", "up", "down")
    assert dims.in_out("qkv") == (32, 96)
    assert dims.in_out("k") == (32, 32)
    assert "gate" not in dims.sites


def test_an_unknown_site_names_the_nearest():
    with pytest.raises(ConfigError, match=r"site 'gates'.*Did you mean 'gate'"):
        tiny_dims("llama").in_out("gates")
    with pytest.raises(ConfigError, match="a gpt2 block has"):
        tiny_dims("gpt2").in_out("gate")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_layers", 0),
        ("head_dim", -1),
        ("max_positions", 0),
        ("vocab_size", 0),
        ("num_kv_heads", 0),
        ("hidden_size", "wide"),
        ("ffn_size", 2.5),
        ("num_heads", True),
        ("num_layers", 1_000_000),
        ("hidden_size", 10**18),
    ],
)
def test_a_wrong_size_is_named_with_its_value(field: str, value: object):
    with pytest.raises(ConfigError, match=rf"backbone\.dims\.{field}={value!r}"):
        checked(Dims, {**LLAMA, field: value}, "backbone.dims")


def test_an_unknown_family_names_the_nearest():
    with pytest.raises(ConfigError, match=r"family='lama'.*llama, gpt2, gpt_neox.*'llama'"):
        checked(Dims, {**LLAMA, "family": "lama"}, "backbone.dims")


@pytest.mark.parametrize(
    ("family", "wrong", "message"),
    [
        ("llama", {"num_heads": 3}, "num_kv_heads=2: must divide num_heads=3"),
        ("llama", {"num_kv_heads": 3}, "num_kv_heads=3: must divide num_heads=4"),
        ("llama", {"head_dim": 7}, "head_dim=7: must be even"),
        ("gpt_neox", {"num_kv_heads": 2}, "num_kv_heads=2: must be num_heads=4 in gpt_neox"),
        ("gpt2", {"head_dim": 7}, "head_dim=7: times num_heads=4, it must equal hidden_size=32"),
    ],
)
def test_sizes_that_do_not_fit_together_are_named(family: str, wrong: dict[str, int], message: str):
    sizes = composed(f"backbone=tiny_{family}")["backbone"]["dims"]
    with pytest.raises(ConfigError, match=rf"backbone\.dims\.{message}"):
        checked(Dims, {**sizes, **wrong}, "backbone.dims")


def test_heads_may_be_wider_than_the_residual_stream():
    """As in Qwen3, whose output projection narrows them again."""
    sizes = composed("backbone=tiny_llama")["backbone"]["dims"]
    assert checked(Dims, {**sizes, "head_dim": 16}, "backbone.dims").in_out("q") == (32, 64)
