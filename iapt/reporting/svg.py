"""A line chart as one SVG element: no plotting library, no script, no external file."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from iapt.reporting.render import clean

# Okabe and Ito's palette, told apart by colour-blind readers; dashes tell more than seven apart.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
DASHES = ("", "6 3", "2 3")
LARGEST = 1e15  # beyond it, or not a number: a point is left out
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560, 300, 56, 150, 28, 44


@dataclass(frozen=True)
class Series:
    """One line of a chart: its points (x, y); points that are not finite are left out."""

    label: str
    points: Sequence[tuple[float, float]]


def line_chart(
    series: Sequence[Series], *, title: str, x_label: str, y_label: str, log_x: bool = False
) -> str:
    """Draw lines with axes, ticks and a legend.

    Args:
        series: Lines; those without a drawable point are left out.
        title: Shown above, and the accessible name.
        x_label: Under the horizontal axis.
        y_label: Beside the vertical axis.
        log_x: Logarithmic horizontal axis; points with x <= 0 are left out.

    Returns:
        An ``<svg>`` element, or an empty string where there is nothing to draw.
    """
    drawn = []
    for line in series:
        points = sorted(
            (math.log10(x) if log_x else x, y, x)
            for x, y in line.points
            if abs(x) < LARGEST and abs(y) < LARGEST and not (log_x and x <= 0)
        )
        if points:
            drawn.append((line.label, points))
    if not drawn:
        return ""
    every = [point for _, points in drawn for point in points]
    x_low, x_high = _span([x for x, _, _ in every])
    y_low, y_high = _span([y for _, y, _ in every])

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - (y - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM),
        )

    name = _text(title)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{name}" '
        'font-family="sans-serif" font-size="11">',
        f"<title>{name}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="16" font-size="13">{name}</text>',
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">'
        f"{_text(x_label)}</text>",
        f'<text x="14" y="{HEIGHT / 2}" text-anchor="middle" '
        f'transform="rotate(-90 14 {HEIGHT / 2})">{_text(y_label)}</text>',
    ]
    for value in _ticks(y_low, y_high):
        x, y = place(x_low, value)
        parts.append(f'<path d="M{x:.1f} {y:.1f}H{WIDTH - RIGHT}" stroke="#dddddd"/>')
        parts.append(f'<text x="{x - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    x_ticks = (
        [(x, true_x) for x, true_x in dict.fromkeys((x, true) for x, _, true in every)]
        if log_x
        else [(value, value) for value in _ticks(x_low, x_high)]
    )
    for x_value, shown in _thinned(sorted(x_ticks)):
        x, y = place(x_value, y_low)
        parts.append(f'<path d="M{x:.1f} {y:.1f}v4" stroke="#444444"/>')
        parts.append(
            f'<text x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{_amount(shown)}</text>'
        )
    for number, (label, points) in enumerate(drawn):
        colour = COLOURS[number % len(COLOURS)]
        dash = DASHES[number // len(COLOURS) % len(DASHES)]
        placed = [place(x, y) for x, y, _ in points]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in placed)
        style = f'stroke="{colour}" fill="none" stroke-width="1.8" stroke-dasharray="{dash}"'
        parts.append(f'<path d="{path}" {style}/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.4" fill="{colour}"/>' for x, y in placed]
        height = TOP + 14 * number
        parts.append(f'<path d="M{WIDTH - RIGHT + 10} {height}h18" {style}/>')
        parts.append(f'<text x="{WIDTH - RIGHT + 33}" y="{height + 4}">{_text(label[:28])}</text>')
    return "\n".join([*parts, "</svg>"])


def _text(text: str) -> str:
    return escape(clean(text), quote=True)


def _amount(value: float) -> str:
    if abs(value) >= 1e6:
        return f"{value / 1e6:.3g}M"
    return f"{value / 1e3:.3g}k" if abs(value) >= 1e4 else f"{value:.4g}"


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = 0.04 * (high - low) or 0.5
    return low - margin, high + margin


def _ticks(low: float, high: float) -> list[float]:
    rough = (high - low) / 5
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next((unit * k for k in (1, 2, 5, 10) if unit * k >= rough), unit * 10)
    first = math.ceil(low / step)
    return [round(i * step, 10) for i in range(first, math.floor(high / step) + 1)]


def _thinned(ticks: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Keep at most ten ticks that do not write over each other."""
    if not ticks:
        return []
    gap = (ticks[-1][0] - ticks[0][0]) / 10
    kept = [ticks[0]]
    for tick in ticks[1:]:
        if tick[0] - kept[-1][0] >= gap > 0:
            kept.append(tick)
    return kept
