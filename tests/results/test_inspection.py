"""What a run leaves of its method's inside, written and read; a file of someone else is not trusted."""

import json
import math
from pathlib import Path

import pytest

from iapt.errors import DataError
from iapt.results.inspection import (
    FILE,
    MOST_TOKENS,
    Attended,
    Curve,
    Functions,
    Inspection,
    read_inspection,
    write_inspection,
)

INSPECTION = Inspection(
    functions=(
        Functions(
            title="f",
            x_label="x",
            y_label="y",
            curves=(Curve(name="a", points=((0.0, 1.0), (1.0, 2.0))),),
        ),
    ),
    prompts=(Attended(tokens=("a", "b"), weights={"block 0": (0.25, 0.75)}),),
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert read_inspection(tmp_path) is None
    write_inspection(tmp_path, INSPECTION)
    assert read_inspection(tmp_path) == INSPECTION


def drawn(y: float) -> dict[str, object]:
    """An inspection with one point of a curve, at this height."""
    curve = {"name": "a", "points": [[0.0, y]]}
    return {"functions": [{"title": "f", "x_label": "x", "y_label": "y", "curves": [curve]}]}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"functions": 3}, "functions"),
        ({"more": 3}, "more"),
        ({"prompts": [{"tokens": ["a"] * (MOST_TOKENS + 1), "weights": {}}]}, "tokens"),
        ({"prompts": [{"tokens": ["a" * 201], "weights": {}}]}, "tokens"),
        ({"prompts": [{"tokens": ["a"], "weights": {"b": [2.0]}}]}, "weights"),
        (
            {"prompts": [{"tokens": ["a"], "weights": {f"{k}": [0.1] for k in range(17)}}]},
            "weights",
        ),
        ({"prompts": [{"tokens": [], "weights": {}}] * 3}, "prompts"),
        (drawn(math.nan), "points"),
        (drawn(-math.inf), "points"),
    ],
)
def test_a_file_that_says_something_else_is_named_with_its_fault(
    tmp_path: Path, change: dict[str, object], named: str
) -> None:
    (tmp_path / FILE).write_text(json.dumps(change))
    with pytest.raises(DataError, match=rf"{FILE}: .*{named}"):
        read_inspection(tmp_path)
