import re

from iapt.reporting.tradeoff import ranges, tradeoffs
from iapt.results.cells import Cell, collect
from tests.results.example_rows import five


def cells(**changes: object) -> list[tuple[str, Cell]]:
    rows = five("sst2", "lora", [80.0] * 5, params={"trained": 100, "stored": 50}, **changes)
    rows += five("sst2", "iapt", [90.0] * 5, params={"trained": 200, "stored": 70}, **changes)
    return [(cell.name, cell) for cell in collect(rows)[0]]


def test_any_two_of_five_measures_are_drawn_against_each_other() -> None:
    found = dict(tradeoffs("sst2", cells()))
    assert len(found) == 10
    assert next(iter(found)) == "test score against trained parameters"
    assert "time against memory" not in found  # one of the two orders is enough
    assert "trained parameters against adapter size" in found
    assert all("iapt" in svg and "lora" in svg for svg in found.values())


def test_a_measure_that_the_rows_lack_is_left_out() -> None:
    found = dict(tradeoffs("sst2", cells(seconds={}, peak_memory_mib=None)))
    assert set(found) == {
        "test score against trained parameters",
        "test score against adapter size",
        "trained parameters against adapter size",
    }


def test_the_scores_of_seeds_stand_beside_their_median() -> None:
    svg = ranges("sst2", cells())
    assert re.findall(r">(iapt|lora)<", svg) == ["iapt", "lora"]
    assert ">acc<" in svg
