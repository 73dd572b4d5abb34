"""Faults in our words: field, value, what is allowed, the nearest match, and all of them at once."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field, TypeAdapter, ValidationError, field_validator
from pydantic.dataclasses import dataclass

from iapt.checking import STRICT, Count, Name, Positive, allowed_by, checked, faults
from iapt.errors import ConfigError


@dataclass(frozen=True, config=STRICT)
class Inner:
    size: Count
    family: Literal["llama", "gpt2"]


@dataclass(frozen=True, config=STRICT)
class Outer:
    name: Name
    inner: Inner
    rate: Positive = 1e-4
    rates: Mapping[str, Positive] = Field(default_factory=dict)
    steps: Count | None = None
    sites: tuple[str, ...] | str = "all"
    parts: Sequence[Inner] = ()

    @field_validator("sites")
    @classmethod
    def _known(cls, sites: tuple[str, ...] | str) -> tuple[str, ...] | str:
        if "w" in sites:
            raise ValueError("there is no w.")
        return sites


RIGHT = {"name": "x", "inner": {"size": 1, "family": "gpt2"}}


def told(values: object, where: str = "outer") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        checked(Outer, values, where)
    return str(caught.value).splitlines()


def test_right_values_are_taken_and_lists_become_what_the_field_holds():
    outer = checked(Outer, {**RIGHT, "sites": ["q", "v"], "rate": 1})
    assert outer == Outer("x", Inner(1, "gpt2"), rate=1.0, sites=("q", "v"))


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"inner": {"size": True, "family": "gpt2"}}, "inner.size=True: must be a whole number >= 1."),
        ({"inner": 5}, "inner=5: must be a mapping with size, family."),
        (
            {"inner": {"size": 1, "family": "lama"}},
            "inner.family='lama': allowed are llama, gpt2. Did you mean 'llama'?",
        ),
        ({"rate": float("inf")}, "rate=inf: must be a positive number, and finite."),
        ({"rate": "1e-3"}, "rate='1e-3': must be a positive number."),
        ({"rates": {"q": 0}}, "rates.q=0: must be a positive number."),
        ({"steps": 2.5}, "steps=2.5: must be a whole number >= 1 or null."),
        ({"steps": 10**30, "rate": 0}, "rate=0: must be a positive number."),
        ({"sites": [1]}, "sites=[1]: must be a list or text."),
        ({"sites": ["w"]}, "sites=['w']: there is no w."),
        ({"parts": [{"size": 0, "family": "gpt2"}]}, "parts.0.size=0: must be a whole number >= 1."),
        ({"naem": 1}, "naem: unknown; allowed are name, inner, rate, rates, steps, sites, parts. Did you mean 'name'?"),
    ],
)  # fmt: skip
def test_a_fault_names_field_value_and_what_is_allowed(wrong: dict[str, object], line: str):
    assert told({**RIGHT, **wrong}) == [f"outer.{line}"]
    assert told({**RIGHT, **wrong}, where="") == [line]


def test_all_faults_are_told_at_once_one_for_each_field():
    lines = told({"name": "a/b", "inner": {"size": 0}, "rate": -1, "sites": 3})
    assert [line.split(":")[0] for line in lines] == [
        "outer.name='a/b'", "outer.inner.size=0", "outer.inner.family", "outer.rate=-1", "outer.sites=3"
    ]  # fmt: skip
    assert lines[2] == "outer.inner.family: missing; it must be one of llama, gpt2."


def test_a_long_value_is_cut():
    (line,) = told({**RIGHT, "name": "x" * 300})
    assert line.startswith(f"outer.name='{'x' * 69}[...]: must be a name for files")


def test_something_that_is_no_mapping_is_told_by_what_it_must_have():
    assert told(5) == ["outer=5: must be a mapping with name, inner, rate, rates, steps, sites, parts."]  # fmt: skip


def test_without_a_schema_pydantics_own_words_stand_behind_field_and_value():
    class Row(BaseModel):
        value: Annotated[float, Field(le=100)]
        n: int

    with pytest.raises(ValidationError) as caught:
        Row.model_validate({"value": 101})
    assert faults(caught.value, "row") == [
        "row.value=101: input should be less than or equal to 100.",
        "row.n: missing.",
    ]


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (int, "a whole number"),
        (float | None, "a number or null"),
        (Annotated[int, Field(ge=0, le=9)], "a whole number >= 0 and <= 9"),
        (Annotated[float, Field(ge=0.5, lt=1)], "a number >= 0.5 and < 1"),
        (Literal["a", "b"], "one of a, b"),
        (Literal["a"], "one of a"),
        (list[int] | bool, "a list or true or false"),
        (dict[str, int], "a mapping"),
        (Inner, "a mapping with size, family"),
    ],
)
def test_what_an_annotation_allows_in_words(annotation: type, words: str):
    assert allowed_by(TypeAdapter(annotation).json_schema()) == words
