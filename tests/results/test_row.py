import math
from typing import Any

import pytest
from pydantic import ValidationError

from iapt.results.row import Row, number
from tests.results.example_rows import a_row, parse, raw_row


def test_a_time_without_a_zone_is_utc() -> None:
    assert a_row(created="2026-11-23T22:50:00").created == a_row().created


def test_a_setting_is_found_below_its_keys_or_is_none() -> None:
    row = a_row(numbers={"rank": 8})
    assert row.setting("method", "rank") == 8
    assert row.setting("method", "alpha") is None
    assert row.setting("method", "rank", "deeper") is None


def test_a_number_is_finite_and_no_truth_value() -> None:
    given: list[Any] = [3, 2.5, True, None, "4", math.inf, [1]]
    assert [number(value) for value in given] == [3.0, 2.5, None, None, None, None, None]


def test_a_row_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValueError, match="frozen"):
        a_row().scores.value = 100.0  # type: ignore[misc]
    assert isinstance(parse(raw_row()), Row)


@pytest.mark.parametrize(
    ("block", "change", "fault"),
    [
        (
            "scores",
            {"items": [50.0, 100.0], "n": 2, "value": 80.0},
            "value=80 is not the mean of items, 75",
        ),
        ("scores", {"n": 2, "n_unparsed": 3}, "n_unparsed=3 is more than n=2 examples"),
        ("seconds", {"train": -1.0}, "greater than or equal to 0"),
    ],
)
def test_numbers_that_cannot_belong_together_are_refused(
    block: str, change: dict[str, Any], fault: str
) -> None:
    raw = raw_row()
    raw[block] = raw[block] | change
    with pytest.raises(ValidationError, match=fault):
        Row.model_validate(raw, strict=False)
