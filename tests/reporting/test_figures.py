from collections.abc import Sequence

from iapt.reporting.charts.canvas import COLOURS
from iapt.reporting.figures import drawings
from iapt.reporting.render import Document, Entry
from iapt.reporting.tables import score_table
from iapt.results.cells import collect
from iapt.results.row import Row
from tests.results.example_rows import five

DESCRIBED = {"prompt_len": 4, "share_every": 4, "activation": "rational", "pooler": "attention"}


def figure(name: str, rows: Sequence[Row]) -> tuple[Document, dict[str, str]]:
    cells = collect(rows)[0]
    return score_table(name, rows, cells), drawings(name, cells)


def sweep() -> list[Row]:
    rows = []
    for m in (64, 256, 1024):
        rows += five(
            "boolq",
            "iapt",
            [80 + m / 256] * 5,
            numbers={**DESCRIBED, "bottleneck_dim": m},
            params={"trained": 65_664 * m},
            variant=f"m{m}",
        )
    return rows


def test_points_are_found_by_the_methods_own_numbers() -> None:
    rows = sweep()
    document, drawn = figure("figure2", rows)
    lines = {line[0]: [entry.text for entry in line[1:]] for line in document.grids[0].lines}
    assert lines["IAPT bottleneck_dim=256"] == ["16.81M", "81.0", "–"]
    assert lines["IAPT bottleneck_dim=128"] == ["–", "–", "–"]
    assert list(drawn) == ["figure2-boolq.svg"]
    assert drawn["figure2-boolq.svg"].count(f'style="fill: {COLOURS[0]}') == 3  # a dot each


def test_the_commands_name_the_missing_points() -> None:
    rows = sweep()
    commands = figure("figure2", rows)[0].commands
    assert (
        "iapt-sweep +experiment=paper task=boolq,e2e method=iapt "
        "method.bottleneck_dim=128,512,2048,4096"
    ) in commands
    assert (
        "iapt-sweep +experiment=paper task=e2e method=iapt method.bottleneck_dim=64,256,1024"
    ) in commands


def test_an_ablation_is_no_point_of_a_figure() -> None:
    numbers = {**DESCRIBED, "bottleneck_dim": 256, "activation": "gelu"}
    rows = five("boolq", "iapt", [99.0] * 5, numbers=numbers, variant="iapt_4")
    document, drawn = figure("figure2", rows)
    assert drawn == {}
    assert all(line[2] == Entry("–") for line in document.grids[0].lines)


def test_without_rows_there_is_a_list_of_dashes_and_no_drawing() -> None:
    document, drawn = figure("figure3", [])
    assert drawn == {}
    assert len(document.grids[0].lines) == 12
