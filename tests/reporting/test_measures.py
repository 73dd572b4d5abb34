"""A cell's measures, as tables and their CSV show them, beside what the statistics say."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from iapt.reporting import measures
from iapt.reporting.measures import Standing
from iapt.results.cells import collect
from iapt.results.comparison import Comparison, compare, own_estimate
from iapt.results.row import Row
from iapt.results.statistics import Interval
from tests.results.example_rows import five

LORA = [86.0, 86.2, 86.1, 86.3, 86.0]
IAPT = [87.0, 88.2, 87.1, 87.6, 87.4]


def standing(rows: list[Row], method: str = "iapt") -> Standing:
    cells = collect(rows)[0]
    return Standing(next(cell for cell in cells if cell.method == method), cells)


def compared(values: list[float], **changes: Any) -> Standing:
    return standing(five("boolq", "lora", LORA) + five("boolq", "iapt", values, **changes))


def test_the_csv_has_the_ends_of_both_intervals_in_order() -> None:
    found = compared(IAPT)
    own = own_estimate(found.cell, None)
    other = compare(found.cell, next(c for c in found.cells if c.method == "lora"), None)
    assert own
    assert other
    assert own.interval
    assert other.interval
    record = measures.record(measures.CSV, found)
    assert (record["ci_low"], record["ci_high"]) == (own.interval.low, own.interval.high)
    assert (record["minus_low"], record["minus_high"]) == (other.interval.low, other.interval.high)
    assert own.interval.low < own.mean < own.interval.high
    assert other.interval.low < other.difference < other.interval.high
    assert record["minus_baseline"] == other.difference
    assert record["baseline"] == "LoRA"


def test_a_majority_is_that_of_the_dev_rows() -> None:
    dev = {"majority_accuracy": 62.0, "best_accuracy": 87.4, "best_loss": 0.4}
    found = compared(IAPT, dev={**dev, "curve": []})
    assert measures.texts(["majority", "dev_accuracy"], found) == ["62.0", "87.4"]


@pytest.mark.parametrize(("trained", "mark"), [(9_994_240, ""), (5_000_000, " §")])
def test_a_difference_between_unequal_budgets_is_marked(trained: int, mark: str) -> None:
    found = compared(IAPT, params={"trained": trained})
    assert measures.texts(["minus_baseline"], found) == [f"+1.3{mark}"]


@pytest.mark.parametrize("other", [2, 16])
def test_rows_of_the_baseline_with_other_values_change_no_comparison(other: int) -> None:
    rows = five("boolq", "lora", LORA, numbers={"rank": 4}) + five("boolq", "iapt", IAPT)
    alone = standing(rows).comparison
    further = standing(five("boolq", "lora", [80.0] * 5, numbers={"rank": other}) + rows)
    assert further.comparison == alone
    assert alone is not None
    instead = standing(five("boolq", "lora", LORA, numbers={"rank": other}) + rows[5:])
    assert instead.comparison == alone, "where there is no better one"


def test_without_a_baseline_a_difference_is_a_dash() -> None:
    found = standing(five("boolq", "iapt", IAPT))
    assert set(measures.texts(measures.COMPARED, found)) == {"–"}


def detecting(size: float | None, most: float = 100.0) -> Comparison:
    estimate = SimpleNamespace(bounds=Interval(-most, most))
    return cast(Comparison, SimpleNamespace(detectable=size, estimate=estimate))


def test_scores_of_other_metrics_have_a_span_of_their_own() -> None:
    found = measures.detectable_note([detecting(1.5), detecting(3.6, 10.0), detecting(2.5)])
    assert [note.split(",")[0] for note in found] == [
        "Smallest detectable difference: 1.5 to 2.5 points",
        "Smallest detectable difference: 3.6 points of 10",
    ]


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (None, "–"),
        (0.0123, "0.012"),
        (6e-11, "6e-11"),
        (0.05, "0.05"),
        (0.0504, ">0.05"),
        (0.051, "0.051"),
    ],
)
def test_a_p_value_never_reads_as_a_finding_that_it_is_not(p: float | None, text: str) -> None:
    assert measures.p_text(p) == text


def test_the_smallest_and_the_largest_detectable_difference_are_named() -> None:
    def note(*sizes: float | None) -> list[str]:
        found = [detecting(size) for size in sizes]
        return measures.detectable_note([None, *found])

    assert note(2.0, 0.0, 3.5, None)[0].startswith(
        "Smallest detectable difference: 0.0 to 3.5 points"
    )
    assert note(2.0)[0].startswith("Smallest detectable difference: 2.0 points")
    assert note(0.0)[0].startswith("Smallest detectable difference: 0.0 points")
    assert note(None) == note() == []
