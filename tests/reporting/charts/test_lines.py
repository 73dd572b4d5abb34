import re
from itertools import pairwise
from xml.etree import ElementTree

import matplotlib
import pytest

from iapt.reporting.charts.canvas import COLOURS, amount
from iapt.reporting.charts.lines import Series, line_chart, panel_chart

POINTS = [(float(x), float(x * x)) for x in range(0, 200, 10)]
HOSTILE = '</text><script>alert("&")</script>\x1b\ud800\u202e'


def chart(*lines: Series, title: str = "t", log_x: bool = False) -> str:
    return line_chart(lines, title=title, x_label="x", y_label="y", log_x=log_x)


def texts(svg: str) -> list[str | None]:
    return [e.text for e in ElementTree.fromstring(svg).iter() if e.tag.endswith("text")]


def dots(svg: str, number: int = 0) -> list[tuple[float, float]]:
    """Where the points of a line lie on the canvas."""
    found = re.findall(rf'<use [^>]*x="([\d.]+)" y="([\d.]+)" style="fill: {COLOURS[number]}', svg)
    return [(float(x), float(y)) for x, y in found]


def test_a_chart_is_well_formed_whatever_its_labels_and_values() -> None:
    points = [(1.0, 2.0), (10.0, float("nan")), (0.0, 3.0), (5.0, float("inf")), (7.0, 1e300)]
    svg = chart(Series(HOSTILE, points), Series("empty", []), title=HOSTILE, log_x=True)
    ElementTree.fromstring(svg)
    assert "<script" not in svg
    assert not {"\x1b", "\ud800", "\u202e"} & set(svg)
    assert len(dots(svg)) == 1
    assert svg.count("<title>") == 1


def test_dollars_and_backslashes_in_a_label_are_letters_not_formulas() -> None:
    label, title = r"$\frac{1}{2}$", r"a $x^{$ b \$"
    found = texts(chart(Series(label, POINTS), title=title))
    assert label in found
    assert title in found


def test_equal_points_give_equal_bytes_whatever_the_users_own_settings() -> None:
    first = chart(Series("a", POINTS), Series("b", POINTS))
    with matplotlib.rc_context({"font.size": 30, "svg.hashsalt": None, "axes.facecolor": "red"}):
        assert chart(Series("a", POINTS), Series("b", POINTS)) == first
    assert not re.search(r"\d{4}-\d\d-\d\d|http://purl", first)


def test_a_chart_leaves_matplotlibs_own_state_alone() -> None:
    before = dict(matplotlib.rcParams)
    chart(Series("a", POINTS))
    assert dict(matplotlib.rcParams) == before


def test_a_chart_of_nothing_is_nothing() -> None:
    assert chart(Series("a", [])) == ""


def test_ticks_stay_inside_and_lines_span_the_plot() -> None:
    svg = chart(Series("a", POINTS))
    assert {"0", "80", "160"} <= set(texts(svg))
    width, height = map(float, ElementTree.fromstring(svg).attrib["viewBox"].split()[2:])
    assert len(dots(svg)) == len(POINTS)
    assert all(0 <= x <= width and 0 <= y <= height for x, y in dots(svg))


@pytest.mark.parametrize("count", [2, 15])
def test_each_line_is_named_at_its_end_and_no_name_covers_another(count: int) -> None:
    svg = chart(*(Series(f"line {n}", [(0.0, 1.0), (9.0, 50.0 + n / 100)]) for n in range(count)))
    found = re.findall(r'y="([\d.]+)"[^>]*>(line \d+)<', svg)
    assert len(found) == count
    heights = sorted(float(y) for y, _ in found)
    assert all(low + 8 < high for low, high in pairwise(heights))
    order = [name for _, name in sorted(found, key=lambda item: -float(item[0]))]
    assert order == [f"line {n}" for n in range(count)]  # the lowest line has the lowest name


def test_names_of_lines_that_end_at_the_bottom_stay_on_the_picture() -> None:
    top = Series("top", [(0.0, 1.0), (9.0, 90.0)])
    svg = chart(top, *(Series(f"line {n}", [(0.0, 1.0), (9.0, 1.0 + n / 100)]) for n in range(9)))
    floor = max(y for _, y in dots(svg))
    heights = [float(y) for y in re.findall(r'y="([\d.]+)"[^>]*>line \d<', svg)]
    assert len(heights) == 9
    assert max(heights) < floor + 15


def test_what_is_never_negative_has_no_axis_below_zero() -> None:
    found = texts(chart(Series("a", [(0.0, 0.0), (5.0, 0.0)])))
    assert "0" in found
    assert not any(text.startswith("-") for text in found if text)


def test_a_logarithmic_axis_shows_the_values_themselves_where_they_are_few() -> None:
    points = [(float(2**n), 1.0 * n) for n in range(6)]
    found = texts(chart(Series("a", points), log_x=True))
    assert {"1", "2", "4", "8", "16", "32"} <= set(found)


def test_points_are_joined_from_left_to_right_in_whatever_order_they_come() -> None:
    ordered = [(0.0, 1.0), (1.0, 4.0), (2.0, 2.0), (3.0, 5.0)]
    shuffled = [ordered[n] for n in (2, 0, 3, 1)]
    assert chart(Series("a", shuffled)) == chart(Series("a", ordered))


def test_a_band_is_drawn_behind_its_line() -> None:
    band = [(0.0, 1.0, 3.0), (1.0, 2.0, float("nan")), (2.0, 1.0, 2.0)]
    svg = chart(Series("a", [(0.0, 2.0), (2.0, 1.5)], band))
    assert svg.count("opacity: 0.15") == 1
    assert chart(Series("a", [(0.0, 2.0)])).count("opacity: 0.15") == 0


def test_many_lines_have_a_panel_each_in_one_colour() -> None:
    lines = [Series(f"m{n}", [(0.0, n), (1.0, n + 1.0)]) for n in range(14)]
    svg = panel_chart([*lines, Series("empty", [])], title=HOSTILE, x_label="x", y_label="y")
    ElementTree.fromstring(svg)
    assert [text for text in texts(svg) if text and text.startswith("m")] == [
        f"m{n}" for n in range(14)
    ]
    assert {colour for colour in COLOURS if colour in svg} == {COLOURS[0]}
    assert panel_chart([], title="t", x_label="x", y_label="y") == ""


def test_amounts_keep_three_digits_in_the_unit_that_fits() -> None:
    shown = {9_999.4: "9999", 9_999.6: "10k", 12_345: "12.3k", 999_400: "999k", 999_700: "1M",
             2_390_112: "2.39M", 999.7e6: "1B", 1.2e9: "1.2B", -12_345: "-12.3k", 0: "0"}  # fmt: skip
    assert {value: amount(value) for value in shown} == shown
