"""Comparisons of invented rows whose truth is known."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from iapt.results.comparison import (
    Outcomes,
    adjusted,
    compare,
    compare_all,
    one_per_method,
    own_estimate,
)
from iapt.results.row import Row
from tests.results.example_items import answered, cell_of, item_row
from tests.results.example_rows import a_row, five


def table(rows: list[Row]) -> np.ndarray:
    return np.array([row.scores.items for row in rows])


def test_a_large_effect_is_found_and_its_mirror_image_is_its_opposite() -> None:
    ours, theirs = answered("iapt", 0.8), answered("lora", 0.6, number=1)
    found, mirrored = (compare(cell_of(a), cell_of(b)) for a, b in ((ours, theirs), (theirs, ours)))
    assert found is not None
    assert mirrored is not None
    assert found.difference == pytest.approx(np.mean(table(ours) - table(theirs)))
    assert found.interval is not None
    assert found.interval.low > 10
    assert (found.interval, found.p) == (found.estimate.interval, found.estimate.p)
    assert found.exact is None  # which is for one seed
    assert found.p is not None
    assert found.p < 0.001
    assert found.by_seed == Outcomes(5, 0, 0)
    assert found.basis == "5 seeds x 200 items"
    assert mirrored.difference == -found.difference
    assert mirrored.p == found.p
    assert mirrored.by_item == Outcomes(found.by_item[1], found.by_item[0], found.by_item[2])  # type: ignore[index]


def test_no_effect_is_not_found() -> None:
    found = compare(cell_of(answered("iapt", 0.7)), cell_of(answered("lora", 0.7, number=1)))
    assert found is not None
    assert found.p is not None
    assert found.p > 0.05
    assert found.interval is not None
    assert found.interval.low < 0 < found.interval.high


def test_ties_are_ties_and_prove_nothing() -> None:
    found = compare(cell_of(answered("iapt", 0.7)), cell_of(answered("lora", 0.7)))
    assert found is not None
    assert found.difference == 0.0
    assert (found.p, found.interval, found.detectable) == (None, None, None)
    assert found.by_seed == Outcomes(0, 0, 5)
    assert found.by_item == Outcomes(0, 0, 200)


def test_scores_that_differ_by_rounding_alone_tie() -> None:
    rounded = 0.1 + 0.2  # a little more than 0.3
    found = compare(
        cell_of(five("boolq", "iapt", [rounded, 80.0])), cell_of(five("boolq", "lora", [0.3, 70.0]))
    )
    assert found is not None
    assert found.by_seed == Outcomes(1, 0, 1)
    itemised = compare(
        cell_of([item_row("boolq", "iapt", 0, [rounded, 0.3, 50.0])]),
        cell_of([item_row("boolq", "lora", 0, [0.3, rounded, 60.0])]),
    )
    assert itemised is not None
    assert itemised.by_item == Outcomes(0, 1, 2)


def test_a_seed_that_only_one_has_is_left_out_and_counted() -> None:
    ours, theirs = answered("iapt", 0.8, seeds=(0, 2, 3, 4)), answered("lora", 0.6, seeds=(1, 2, 3))
    found = compare(cell_of(ours), cell_of(theirs))
    assert found is not None
    assert (found.seeds, found.left_out) == ((2, 3), (0, 1, 4))
    assert found.difference == pytest.approx(np.mean(table(ours)[1:3] - table(theirs)[1:]))
    apart = cell_of(answered("lora", 0.6, seeds=(1,)))
    assert compare(cell_of(ours), apart) is None


def test_a_huge_effect_of_one_seed_speaks_about_items_only() -> None:
    one = compare(
        cell_of(answered("iapt", 0.9, seeds=[0], items=100)),
        cell_of(answered("lora", 0.3, seeds=[0], items=100, number=1)),
    )
    assert one is not None
    assert one.by_item is not None
    assert one.basis == "1 seed x 100 items"
    wins, losses, _ = one.by_item
    assert one.p == pytest.approx(stats.binomtest(wins, wins + losses).pvalue)  # McNemar, exact
    assert one.interval is not None
    assert one.interval.low < one.difference < one.interval.high


def test_the_exact_test_is_for_few_independent_right_and_wrong_answers_only() -> None:
    def exact(items: int, scale: float = 1.0, **changes: object) -> bool:
        draw = np.random.default_rng(2)
        rows = [
            item_row("boolq", method, 0, scale * 100.0 * (draw.random(items) < 0.5), **changes)
            for method in ("iapt", "lora")
        ]
        found = compare(cell_of(rows[:1]), cell_of(rows[1:]))
        assert found is not None
        return found.exact is not None

    assert exact(299)
    assert not exact(300)
    assert not exact(299, scale=0.5)  # not all or nothing
    assert not exact(100, clusters=[item // 2 for item in range(100)])


def test_items_that_share_a_passage_count_as_clusters() -> None:
    passages = [item // 10 for item in range(200)]
    ours, theirs = (
        cell_of(answered(method, 0.7, number=number, clusters=passages))
        for number, method in enumerate(("iapt", "lora"))
    )
    found = compare(ours, theirs)
    assert found is not None
    assert found.basis == "5 seeds x 200 items in 20 clusters"
    estimate = own_estimate(ours)
    assert estimate is not None
    assert estimate.clusters == 20


@pytest.mark.parametrize(
    "change", [{"items": 199}, {"task": "rte"}, {"decoding": {"num_beams": 1}}]
)
def test_other_items_or_another_decoding_are_not_compared(change: dict[str, Any]) -> None:
    theirs = cell_of(answered("lora", 0.6, **change))
    assert compare(cell_of(answered("iapt", 0.8)), theirs) is None


@pytest.mark.parametrize("change", [{"fingerprint": "0ther"}, {"task_version": 2}])
def test_items_of_other_data_in_another_order_or_of_another_version_are_not_compared(
    change: dict[str, Any],
) -> None:
    theirs = [
        row.model_copy(update={"data": row.data.model_copy(update=change)})
        for row in answered("lora", 0.6)
    ]
    assert compare(cell_of(answered("iapt", 0.8)), cell_of(theirs)) is None


@pytest.mark.parametrize("which", ["every row", "one row"])
def test_without_scores_per_item_in_every_row_seeds_are_paired_by_t(which: str) -> None:
    ours, theirs = answered("iapt", 0.8), answered("lora", 0.6, number=1)
    older = theirs if which == "every row" else theirs[:1]
    theirs = [
        row.model_copy(update={"scores": row.scores.model_copy(update={"items": ()})})
        if row in older
        else row
        for row in theirs
    ]
    found = compare(cell_of(ours), cell_of(theirs))
    assert found is not None
    values = [[row.scores.value for row in rows] for rows in (ours, theirs)]
    assert found.p == pytest.approx(stats.ttest_rel(*values).pvalue)
    assert found.basis == "5 seeds, without per-item scores"
    assert found.by_item is None


def test_clusters_are_the_same_whatever_they_are_called() -> None:
    ours, theirs = answered("iapt", 0.8), answered("lora", 0.6, number=1)
    n = ours[0].scores.n
    named = [
        [
            row.model_copy(update={"scores": row.scores.model_copy(update={"clusters": names})})
            for row in rows
        ]
        for rows, names in (
            (ours, tuple(k // 2 for k in range(n))),
            (theirs, tuple(900 - k // 2 for k in range(n))),
        )
    ]
    found = compare(*map(cell_of, named))
    assert found is not None
    assert found.basis.endswith(f"items in {(n + 1) // 2} clusters")


def test_a_difference_that_no_score_allows_cannot_be_detected() -> None:
    few = cell_of(answered("iapt", 0.8)[:2]), cell_of(answered("lora", 0.6, number=1)[:2])
    found = compare(*few, most=0.5)
    assert found is not None
    assert found.detectable is None
    assert found.interval is not None
    assert -0.5 <= found.interval.low <= found.interval.high <= 0.5


def test_seeds_that_differ_by_the_same_amount_have_no_interval() -> None:
    ours = cell_of(five("boolq", "iapt", [87.1, 86.9, 88.4, 87.3, 87.7]))
    theirs = cell_of(five("boolq", "lora", [86.1, 85.9, 87.4, 86.3, 86.7]))
    found = compare(ours, theirs)
    assert found is not None
    assert found.difference == pytest.approx(1.0)
    assert (found.p, found.interval) == (None, None)
    assert found.by_seed == Outcomes(5, 0, 0)


@pytest.mark.parametrize(
    ("trained", "unequal"),
    [(100, False), (110, False), (111, True), (91, False), (90, True), (None, False)],
)
def test_budgets_more_than_ten_percent_apart_are_unequal(
    trained: int | None, unequal: bool
) -> None:
    ours = cell_of(five("boolq", "iapt", [87.0, 88.0], params={"trained": trained}))
    theirs = cell_of(five("boolq", "lora", [86.0, 86.0], params={"trained": 100}))
    found = compare(ours, theirs)
    assert found is not None
    assert found.unequal is unequal


def test_a_named_metric_has_no_items() -> None:
    def cell(method: str, f1: float) -> Row:
        scores = {"metric": "acc", "value": 50.0, "n": 2, "n_unparsed": 0, "items": [0, 100]}
        return a_row(method=method, scores={**scores, "details": {"f1": f1}})

    ours, theirs = cell_of([cell("iapt", 70.0)]), cell_of([cell("lora", 60.0)])
    found = compare(ours, theirs, "f1")
    assert found is not None
    assert (found.difference, found.basis) == (10.0, "1 seed, without per-item scores")
    assert compare(ours, theirs, "rouge") is None


def test_every_two_cells_are_one_family_of_tests() -> None:
    cells = [cell_of(answered(method, 0.7, number=number)) for number, method in enumerate("abcd")]
    pairs = compare_all(cells)
    assert len(pairs) == 6
    p_values = [pair.comparison.p for pair in pairs]
    assert [pair.p_holm for pair in pairs] == adjusted(p_values)
    smallest = min(pairs, key=lambda pair: pair.comparison.p or 1.0)
    assert smallest.p_holm == pytest.approx(min(1.0, 6 * (smallest.comparison.p or 1.0)))
    for pair in pairs:
        assert pair.comparison.p is not None
        assert pair.p_bh is not None
        assert pair.p_holm is not None
        assert pair.comparison.p <= pair.p_bh <= pair.p_holm
        assert pair.facts()["items"] == 200


def test_an_unknown_p_value_stays_unknown_and_does_not_count() -> None:
    assert adjusted([0.01, None, 0.04]) == [0.02, None, 0.04]
    assert adjusted([None]) == [None]
    assert adjusted([0.01, 0.04, None], by_rate=True) == [0.02, 0.04, None]


def test_of_a_methods_cells_the_dev_loss_chooses_and_never_the_test_score() -> None:
    def tried(rank: int, loss: float, value: float) -> Row:
        dev = {"best_loss": loss, "curve": []}
        return a_row(method="lora", value=value, numbers={"rank": rank}, dev=dev)

    cells = [cell_of([tried(4, 0.5, 99.0)]), cell_of([tried(8, 0.2, 70.0)])]
    assert one_per_method(cells) == [cells[1]]
    more = cell_of([tried(2, 0.9, 10.0), a_row(method="lora", seed=1, numbers={"rank": 2})])
    assert one_per_method([*cells, more]) == [more]


def test_a_cells_own_mean_has_the_same_kind_of_error() -> None:
    rows = answered("iapt", 0.7)
    estimate = own_estimate(cell_of(rows))
    assert estimate is not None
    assert estimate.mean == pytest.approx(table(rows).mean())
    assert estimate.basis == "5 seeds x 200 items"
    assert own_estimate(cell_of(rows), "f1") is None


def test_an_interval_ends_where_scores_end_and_a_differences_where_differences_end() -> None:
    rows = five("boolq", "iapt", [99.0, 91.0]) + five("boolq", "lora", [1.0, 9.0])
    left, right = cell_of(rows[:2]), cell_of(rows[2:])
    own, other = own_estimate(left), own_estimate(right)
    assert own is not None
    assert other is not None
    assert own.mean + 12.7 * (own.error or 0) > 100 > own.mean > 0
    assert own.interval is not None
    assert own.interval.high == 100
    assert own.interval.low == pytest.approx(95 - 4 * 12.706, abs=0.01)
    assert other.interval is not None
    assert other.interval.low == 0
    found = compare(left, right)
    assert found is not None
    assert found.interval is not None
    assert found.interval.high == 100
    assert found.interval.low == pytest.approx(90 - 8 * 12.706, abs=0.01)
