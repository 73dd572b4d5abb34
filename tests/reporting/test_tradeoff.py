import re

from iapt.reporting.charts.canvas import COLOURS
from iapt.reporting.tradeoff import against_size, ranges, tradeoffs
from iapt.results.cells import Cell, collect
from tests.results.example_items import item_row
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


def test_the_scores_of_seeds_stand_beside_their_mean_and_its_interval() -> None:
    rows = five("sst2", "lora", [80.0, 82.0, 84.0, 86.0, 88.0]) + five("sst2", "iapt", [90.0, 92.0])
    svg = ranges("sst2", [(cell.name, cell) for cell in collect(rows)[0]])
    assert re.findall(r">((?:iapt|lora)[^<]*)<", svg) == ["iapt (2/5)", "lora"]
    assert ">acc<" in svg
    bars = re.findall(
        rf'<path d="M [^"]*"[^>]*style="[^"]*stroke: {COLOURS[0]}; stroke-width: ([\d.]+)', svg
    )
    assert bars == ["2.4", "2.4"]


def test_the_interval_of_one_seed_is_thin_and_equal_scores_have_none() -> None:
    rows = [item_row("sst2", "iapt", 0, [100.0, 0.0] * 50), *five("sst2", "lora", [80.0] * 5)]
    svg = ranges("sst2", [(cell.name, cell) for cell in collect(rows)[0]])
    assert ">iapt (1/5)<" in svg
    bars = re.findall(rf"stroke: {COLOURS[0]}; stroke-width: ([\d.]+)", svg)
    assert set(bars) == {"0.8"}


def test_the_score_stands_against_the_size() -> None:
    assert "test score against trained parameters" in against_size("sst2", cells())
    assert against_size("sst2", cells()[:1]) == ""
