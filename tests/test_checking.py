from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from iapt.checking import faults, short


class Sizes(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    width: int = Field(default=8, ge=1)
    depth: int = 2


class Settings(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

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


def said(values: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(values)
    return faults(caught.value, "hparams", Settings)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"lr": -1}, "hparams.lr=-1: must be greater than 0."),
        ({"lr": float("nan")}, "hparams.lr=nan: must be a finite number."),
        ({"lr": "1e-4x"}, "hparams.lr='1e-4x': must be a number."),
        ({"steps": 0}, "hparams.steps=0: must be greater than 0 or null."),
        ({"steps": 1.5}, "hparams.steps=1.5: must be a whole number or null."),
        ({"on": 1}, "hparams.on=1: must be true or false."),
        (
            {"where": "train_spilt"},
            "hparams.where='train_spilt': must be 'dev' or 'train_split'. Did you mean 'train_split'?",
        ),
        ({"size": None}, "hparams.size=None: must be a whole number or text."),
        ({"rates": {"a b": "x"}}, "hparams.rates.a b='x': must be a number."),
        ({"rates": {"a\nb": "x"}}, "hparams.rates.'a\\nb'='x': must be a number."),
        ({"rates": [1]}, "hparams.rates=[1]: must be a mapping."),
        ({"inner": 3}, "hparams.inner=3: must be a mapping or null."),
        ({"inner": {"width": 0}}, "hparams.inner.width=0: must be greater than or equal to 1."),
        ({"many": [{"width": "w"}]}, "hparams.many.0.width='w': must be a whole number."),
        (
            {"inner": {"widht": 1}},
            "hparams.inner.widht: unknown; allowed are width, depth. Did you mean 'width'?",
        ),
        ({"name": ""}, "hparams.name='': must be text that is not empty."),
        ({"name": "a/b"}, "hparams.name='a/b': must be a file name."),
        ([1], "hparams=[1]: must be a mapping."),
    ],
)
def test_a_fault_names_field_value_and_what_is_allowed(values: Any, line: str) -> None:
    assert said(values) == [line]


def test_all_faults_are_told_at_once() -> None:
    assert len(said({"lr": 0, "steps": "many", "unheard": 1})) == 3


def test_a_missing_field_and_a_fault_without_a_model_are_named() -> None:
    class Needed(BaseModel):
        model_config = ConfigDict(extra="forbid")
        a: int

    with pytest.raises(ValidationError) as caught:
        Needed.model_validate({"b": 1})
    assert faults(caught.value) == ["a: missing.", "b: unknown."]


def test_what_is_no_mapping_or_no_json_at_all_is_said_without_a_name() -> None:
    for text, line in (("[1]", "[1]: must be a mapping."), ("{half", "not readable as JSON (key")):
        with pytest.raises(ValidationError) as caught:
            Settings.model_validate_json(text)
        (said,) = faults(caught.value)
        assert said.startswith(line)


def test_no_value_is_too_large_for_a_message() -> None:
    assert len(short("x" * 10**6)) < 80
    assert len(short(10**5000)) < 80
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    assert len(short(deep)) < 80
    assert "\n" not in short("a\nb")
