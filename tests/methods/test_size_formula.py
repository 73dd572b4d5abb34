"""Formulas of sizes: arithmetic over known names, and nothing else."""

import pytest

from iapt.errors import ConfigError
from iapt.methods.size_formula import SizeFormula
from tests.tiny import tiny_dims

LLAMA, GPT2 = tiny_dims("llama"), tiny_dims("gpt2")


def value(text, dims=LLAMA, **numbers):
    return SizeFormula(text, dims, numbers).value()


def test_names_are_sizes_of_the_backbone_and_numbers_of_the_method():
    assert value("L * 100 + d * 10 + f + q + kv") == 500 + 320 + 48 + 32 + 16
    assert value("in_out") == 2 * 64 + 2 * 48 + 3 * 80  # q o, k v, gate up down
    assert value("in_out", GPT2) == 32 + 96 + 64 + 2 * 80  # fused q k v, o, up down
    assert value("out", GPT2) == 96 + 32 + 48 + 32
    assert value("r * (1 + flag)", r=3, flag=True) == 6


def test_ceil_and_division_work_in_fractions_and_the_end_is_rounded():
    assert value("ceil(L / 4) * 10 - L / 4") == 19  # 18.75


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("L * rnak", r"method\.size='L \* rnak': 'rnak' is not one of .*rank.*Did you mean 'rank'\?"),
        ("L *", "invalid syntax"),
        ("__import__('os').system('true')", "allowed are numbers, names"),
        ("(1).__class__", "allowed are numbers, names"),
        ("9 ** 9 ** 9", "allowed are numbers, names"),
        ("'a' * 9", "allowed are numbers, names"),
        ("[L for L in d]", "allowed are numbers, names"),
        ("L / (d - d)", "division by zero"),
        ("1e308 * 10", "infinity"),
        ("-" * 5000 + "1", "method.size="),
    ],
)  # fmt: skip
def test_anything_else_is_refused_by_name(text, message):
    with pytest.raises(ConfigError, match=message):
        value(text, rank=4)
