"""Faults in our words: field, value, what is allowed, the nearest match, and all of them at once."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator
from pydantic.dataclasses import dataclass

from iapt.configuration.checking import (
    STRICT,
    Count,
    Name,
    Positive,
    allowed_by,
    checked,
    faults,
    short,
)
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
        ({"steps": 2**31, "rate": 0}, "rate=0: must be a positive number."),
        ({"steps": 2**31 + 1}, "steps=2147483649: must be at most 2147483648."),
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
    assert len(line) < 220
    assert "xxx...xxx" in line
    assert "must be a name for files" in line


@pytest.mark.parametrize("name", ["x", "9", "Ärger_1", "a.b-c+d_e", "日本", "e\u0301", "x" * 60])
def test_a_name_for_files_is_taken(name: str):
    assert checked(TypeAdapter(Name), name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".x", "-x", "+x", "_x", "\u0301e", "a b", "a/b", "a:b", "x\n", "x" * 61]
)
def test_a_name_that_is_hidden_looks_like_an_option_or_is_none_for_files_is_refused(name: str):
    with pytest.raises(
        ConfigError, match=r"must be a name for files: .* the first a letter or digit"
    ):
        checked(TypeAdapter(Name), name)


def test_something_that_is_no_mapping_is_told_by_what_it_must_have():
    assert told(5) == ["outer=5: must be a mapping with name, inner, rate, rates, steps, sites, parts."]  # fmt: skip


def test_without_a_schema_pydantics_own_words_stand_behind_field_and_value():
    class Row(BaseModel):
        value: Annotated[float, Field(le=100)]
        n: int

    with pytest.raises(ValidationError) as caught:
        Row.model_validate({"value": 101})
    assert faults(caught.value, "row") == [
        "row.value=101: must be less than or equal to 100.",
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
        (Literal["a"], "a"),
        (datetime, "a time in ISO 8601, such as 2026-01-31T09:00:00Z"),
        (list[int] | bool, "a list or true or false"),
        (dict[str, int], "a mapping"),
        (Inner, "a mapping with size, family"),
    ],
)
def test_what_an_annotation_allows_in_words(annotation: type, words: str):
    schema = TypeAdapter(annotation).json_schema()
    assert allowed_by(schema, schema) == words


class Sizes(BaseModel):
    model_config = STRICT

    width: int = Field(default=8, ge=1)
    depth: int = 2


class Settings(BaseModel):
    model_config = STRICT

    lr: float = Field(default=1e-4, gt=0)
    steps: int | None = Field(default=None, gt=0)
    where: Literal["dev", "train_split"] = "dev"
    size: int | str = 1
    on: bool = False
    rates: dict[str, float] = {}
    inner: Sizes | None = None
    many: list[Sizes] = []
    name: str = Field(default="x", min_length=1)

    @field_validator("name")
    @classmethod
    def plain(cls, value: str) -> str:
        if "/" in value:
            raise ValueError("must be a file name")
        return value


def said(values: object) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(values)
    return faults(caught.value, "hparams", Settings)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"lr": -1}, "hparams.lr=-1: must be a positive number."),
        ({"lr": float("nan")}, "hparams.lr=nan: must be a positive number, and finite."),
        ({"lr": "1e-4x"}, "hparams.lr='1e-4x': must be a positive number."),
        ({"steps": 0}, "hparams.steps=0: must be a whole number > 0 or null."),
        ({"steps": 1.5}, "hparams.steps=1.5: must be a whole number > 0 or null."),
        ({"on": 1}, "hparams.on=1: must be true or false."),
        (
            {"where": "train_spilt"},
            "hparams.where='train_spilt': allowed are dev, train_split. Did you mean 'train_split'?",
        ),
        ({"size": None}, "hparams.size=None: must be a whole number or text."),
        ({"rates": {"a b": "x"}}, "hparams.rates.a b='x': must be a number."),
        ({"rates": {"a\nb": "x"}}, "hparams.rates.'a\\nb'='x': must be a number."),
        ({"rates": [1]}, "hparams.rates=[1]: must be a mapping."),
        ({"inner": 3}, "hparams.inner=3: must be a mapping with width, depth or null."),
        ({"inner": {"width": 0}}, "hparams.inner.width=0: must be a whole number >= 1."),
        ({"many": [{"width": "w"}]}, "hparams.many.0.width='w': must be a whole number >= 1."),
        (
            {"inner": {"widht": 1}},
            "hparams.inner.widht: unknown; allowed are width, depth. Did you mean 'width'?",
        ),
        ({"name": ""}, "hparams.name='': must be text that is not empty."),
        ({"name": "a/b"}, "hparams.name='a/b': must be a file name."),
        ([1], "hparams=[1]: must be a mapping with lr, steps, where, size, on, rates, inner, many, name."),
    ],
)  # fmt: skip
def test_a_model_tells_of_its_fields_as_a_dataclass_does(values: object, line: str) -> None:
    assert said(values) == [line]


def test_a_missing_field_and_a_fault_without_a_model_are_named() -> None:
    class Needed(BaseModel):
        model_config = ConfigDict(extra="forbid")
        a: int

    with pytest.raises(ValidationError) as caught:
        Needed.model_validate({"b": 1})
    assert faults(caught.value) == ["a: missing.", "b: unknown."]


def test_text_that_is_no_json_is_told_without_a_field() -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate_json("{")
    (line,) = faults(caught.value, "", Settings)
    assert line.startswith("not readable as JSON (")


def test_no_value_is_too_large_for_a_message() -> None:
    assert len(short("x" * 10**6)) < 80
    assert len(short(10**5000)) < 80
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    assert len(short(deep)) < 80
    assert "\n" not in short("a\nb")
