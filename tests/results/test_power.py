import numpy as np
import pytest

from iapt.results.crossed import crossed
from iapt.results.power import detectable, needed_items, needed_seeds


def experiment(seeds: int = 5, items: int = 100, *, of_seeds: float = 3.0) -> np.ndarray:
    draw = np.random.default_rng(4)
    apart = draw.normal(0, of_seeds, (seeds, 1)) + draw.normal(0, 20, (1, items))
    return apart + draw.normal(0, 20, (seeds, items))


def test_the_experiment_that_was_run_detects_what_it_says() -> None:
    found = crossed(experiment())
    assert detectable(found, 5, 100) == pytest.approx(found.detectable)


def test_more_seeds_or_items_detect_less_and_the_first_that_suffices_is_named() -> None:
    found = crossed(experiment())
    seeds, items = needed_seeds(found, 7.0), needed_items(found, 7.5)
    assert seeds is not None
    assert items is not None
    assert detectable(found, seeds, 100) <= 7.0 < detectable(found, seeds - 1, 100)
    assert detectable(found, 5, items) <= 7.5 < detectable(found, 5, items - 1)


def test_no_number_of_seeds_makes_up_for_too_few_items_and_the_reverse() -> None:
    found = crossed(experiment(of_seeds=30.0))
    assert needed_items(found, 1.0) is None
    assert needed_seeds(found, 1.0) is None
    assert needed_seeds(found, 1e9) == 2


def test_one_seed_cannot_say_how_seeds_vary_nor_one_score_per_seed_how_items_do() -> None:
    assert needed_seeds(crossed(experiment(1)), 5.0) is None
    assert needed_items(crossed(experiment(1)), 5.0) is not None
    assert needed_items(crossed(experiment(items=1)), 5.0) is None
    assert needed_seeds(crossed(experiment(items=1, of_seeds=1.0)), 20.0) is not None


def test_clusters_count_as_typical() -> None:
    table = np.repeat(experiment(items=50), 2, axis=1)
    found = crossed(table, np.repeat(np.arange(50), 2).tolist())
    alone = crossed(experiment(items=50))
    assert detectable(found, 8, 400) == pytest.approx(detectable(alone, 8, 200))


def test_without_spread_nothing_is_known() -> None:
    found = crossed(np.zeros((5, 100)))
    assert (needed_seeds(found, 5.0), needed_items(found, 5.0)) == (None, None)
