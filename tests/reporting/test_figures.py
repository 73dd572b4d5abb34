from xml.etree import ElementTree

from iapt.reporting.figures import figure
from iapt.reporting.svg import Series, line_chart
from iapt.results.cells import collect
from tests.results.example_rows import five

DESCRIBED = {"prompt_len": 4, "share_every": 4, "activation": "rational", "pooler": "attention"}


def sweep() -> list:
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
    document, drawings = figure("figure2", rows, collect(rows)[0])
    lines = {line[0]: line[1:] for line in document.grids[0].lines}
    assert lines["IAPT bottleneck_dim=256"] == ["16.81M", "81.0", "–"]
    assert lines["IAPT bottleneck_dim=128"] == ["–", "–", "–"]
    assert list(drawings) == ["figure2-boolq.svg"]
    assert drawings["figure2-boolq.svg"].count("<circle") == 3


def test_the_commands_name_the_missing_points() -> None:
    rows = sweep()
    commands = figure("figure2", rows, collect(rows)[0])[0].commands
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
    document, drawings = figure("figure2", rows, collect(rows)[0])
    assert drawings == {}
    assert all(line[2] == "–" for line in document.grids[0].lines)


def test_without_rows_there_is_a_list_of_dashes_and_no_drawing() -> None:
    document, drawings = figure("figure3", [], [])
    assert drawings == {}
    assert len(document.grids[0].lines) == 12


def test_a_chart_is_well_formed_whatever_its_labels_and_values() -> None:
    hostile = '</text><script>alert("&")</script>\x1b\ud800'
    points = [(1.0, 2.0), (10.0, float("nan")), (0.0, 3.0), (5.0, float("inf")), (7.0, 1e300)]
    svg = line_chart(
        [Series(hostile, points), Series("empty", [])],
        title=hostile,
        x_label="x",
        y_label="y",
        log_x=True,
    )
    tree = ElementTree.fromstring(svg)
    assert "<script" not in svg
    assert sum(element.tag.endswith("circle") for element in tree.iter()) == 1


def test_a_chart_of_nothing_is_nothing() -> None:
    assert line_chart([Series("a", [])], title="t", x_label="x", y_label="y") == ""


def test_ticks_stay_inside_and_lines_span_the_plot() -> None:
    points = [(float(x), float(x * x)) for x in range(0, 200, 10)]
    svg = line_chart([Series("a", points)], title="t", x_label="x", y_label="y")
    tree = ElementTree.fromstring(svg)
    texts = [element.text for element in tree.iter() if element.tag.endswith("text")]
    assert "100" in texts
    circles = [e for e in tree.iter() if e.tag.endswith("circle")]
    assert all(
        0 <= float(c.attrib["cx"]) <= 560 and 0 <= float(c.attrib["cy"]) <= 300 for c in circles
    )
