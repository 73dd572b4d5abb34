import re
from itertools import combinations
from xml.etree import ElementTree

import pytest

from iapt.reporting.charts.canvas import COLOURS
from iapt.reporting.charts.comparison import Range, Spot, pareto_front, range_chart, tradeoff_chart

HOSTILE = '</text><script>alert("&")</script>\x1b\ud800\u202e'


def tradeoff(spots: list[Spot]) -> str:
    return tradeoff_chart(spots, title="t", x_label="x", y_label="y")


def front(spots: list[Spot], **ways: bool) -> list[str]:
    return [spot.label for spot in pareto_front(spots, **ways)]


def test_the_front_holds_what_no_other_method_beats() -> None:
    spots = [Spot("a", 1, 50), Spot("b", 2, 80), Spot("c", 3, 70), Spot("d", 4, 90), Spot("e", 4, 85)]  # fmt: skip
    assert front(spots, x_up=False, y_up=True) == ["a", "b", "d"]
    assert front(spots, x_up=False, y_up=False) == ["a"]
    assert front(spots, x_up=True, y_up=True) == ["d"]


def test_methods_in_one_place_are_on_the_front_together() -> None:
    assert front([Spot("a", 1, 50), Spot("b", 1, 50)], x_up=False, y_up=True) == ["a", "b"]


def test_the_front_has_a_colour_of_its_own_and_every_method_a_label() -> None:
    svg = tradeoff([Spot("a", 1, 50), Spot("b", 2, 40), Spot("c", 3, 60)])
    dots = re.findall(r'<use [^>]*style="fill: (#[0-9a-f]{6})', svg)
    assert dots.count(COLOURS[0]) == 1
    assert dots.count(COLOURS[1]) == 2
    assert {"a", "b", "c"} <= set(re.findall(r">([^<>]+)</text>", svg))


def test_a_vertical_axis_of_costs_has_its_front_at_the_bottom() -> None:
    spots = [Spot("a", 1, 50), Spot("b", 2, 40), Spot("c", 3, 60)]
    svg = tradeoff_chart(spots, title="t", x_label="x", y_label="y", y_up=False)
    assert sorted(re.findall(r"font-weight: 700[^>]*>([^<>]+)</text>", svg)) == ["a", "b"]


@pytest.mark.parametrize(
    "xs", [(1e3, 1e5, 1e7), (10.0, 20.0, 30.0)], ids=["orders of magnitude", "alike"]
)
def test_sizes_over_orders_of_magnitude_stand_apart_and_alike_ones_keep_their_proportions(
    xs: tuple[float, ...],
) -> None:
    svg = tradeoff([Spot(f"m{n}", x, 10.0 * n) for n, x in enumerate(xs)])
    dots = re.findall(r'<use [^>]*x="([\d.]+)"[^>]*fill: (#[0-9a-f]{6})', svg)
    left, middle, right = sorted(float(x) for x, fill in dots if fill in COLOURS)
    assert middle - left == pytest.approx(right - middle, rel=0.01)


def test_labels_of_fifteen_crowded_methods_do_not_cover_each_other() -> None:
    spots = [Spot(f"method_{n:02}", 1e6 + 4e4 * (n % 5), 80 + n // 5) for n in range(15)]
    svg = tradeoff(spots)
    found = re.findall(r'translate\(([\d.]+) ([\d.]+)\)[^>]*">(method_\d+)<', svg)
    places = [(float(x), float(y)) for x, y, _ in found]
    if len(places) != 15:
        found = re.findall(r'x="([\d.]+)" y="([\d.]+)"[^>]*>(method_\d+)<', svg)
        places = [(float(x), float(y)) for x, y, _ in found]
    assert len(places) == 15
    assert all(abs(y - v) > 8 or abs(x - u) > 45 for (x, y), (u, v) in combinations(places, 2))


@pytest.mark.parametrize("draw", ["tradeoff", "range"])
def test_a_picture_is_well_formed_and_the_same_whatever_is_in_it(draw: str) -> None:
    def svg() -> str:
        if draw == "tradeoff":
            spots = [Spot(HOSTILE, 1, 2), Spot("b", float("nan"), 2), Spot("c", 3, 1e300)]
            return tradeoff_chart(spots, title=HOSTILE, x_label=HOSTILE, y_label="y")
        methods = [Range(HOSTILE, [1.0, 2.0], 1.5, (1.0, 2.0)), Range("b", [float("inf")], 1.0)]
        return range_chart(methods, title=HOSTILE, x_label=HOSTILE)

    ElementTree.fromstring(svg())
    assert "<script" not in svg()
    assert not {"\x1b", "\ud800", "\u202e"} & set(svg())
    assert ">b<" not in svg()
    assert svg() == svg()


def test_nothing_to_draw_is_no_picture() -> None:
    assert tradeoff([]) == ""
    assert range_chart([Range("a", [], 1.0)], title="t", x_label="x") == ""
