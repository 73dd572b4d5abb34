"""What is to be said beside a score."""

from typing import Any

import pytest

from iapt.results.remarks import remarks
from iapt.results.row import DataUsed, Row
from tests.results.example_rows import a_row, bare

SIZES = {"train": 1800, "dev": 60, "test": 80}


def row(unparsed: int = 0, n: int = 80, **data: Any) -> Row:
    scores = {"metric": "acc", "value": 50.0, "n": n, "n_unparsed": unparsed}
    return a_row(scores=scores).model_copy(update={"data": DataUsed(**{"sizes": SIZES, **data})})


def test_nothing_is_said_of_a_row_with_nothing_to_say():
    assert remarks([row(truncated={"train": 0, "test": 0}, skipped={"train": 0, "dev": 0})]) == []
    assert remarks([bare(a_row())]) == []


def test_a_quantised_backbone_is_said_first():
    found = row(truncated={"test": 1})
    backbone = found.backbone.model_copy(update={"quantization": "nf4"})
    other = found.model_copy(update={"backbone": backbone})
    assert remarks([other]) == ["backbone quantised to nf4", "1 of 80 test prompts cut"]


def test_cuts_and_rows_left_out_are_said_with_what_they_are_a_part_of():
    found = row(truncated={"train": 12, "dev": 0, "test": 3}, skipped={"train": 2, "dev": 0})
    assert remarks([found]) == [
        "12 of 1,800 train prompts cut",
        "3 of 80 test prompts cut",
        "2 of 1,802 train rows left out",
    ]


def test_second_turns_count_beside_the_first():
    assert remarks([row(n=160, truncated={"test": 1, "follow_ups": 7})]) == [
        "1 of 80 test prompts cut",
        "7 of 80 follow-up prompts cut",
    ]


@pytest.mark.parametrize(("unparsed", "said"), [(4, []), (5, ["5 of 80 outputs unparsed"])])
def test_outputs_are_remarked_above_a_twentieth(unparsed: int, said: list[str]):
    assert remarks([row(unparsed)]) == said


def test_the_worst_row_of_a_cell_counts():
    assert remarks([row(0), row(20), row(8)]) == ["up to 20 of 80 outputs unparsed"]
    cut = row(truncated={"train": 12})
    assert remarks([cut, cut]) == ["12 of 1,800 train prompts cut"]


def test_a_row_that_does_not_know_its_sizes_says_the_count():
    assert remarks([row(sizes={}, truncated={"train": 12})]) == ["12 train prompts cut"]
