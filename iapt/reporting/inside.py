"""What methods learned, for the report: functions beside the one that they started from, and shaded tokens."""

from collections.abc import Sequence

from iapt.reporting.charts.lines import Series, panel_chart
from iapt.results.inspection import Functions


def drawn(shown: Functions) -> str:
    """Draw a panel for each function, with the one that they started from; empty if there is nothing to draw."""
    known = shown.reference
    return panel_chart(
        [Series(curve.name, curve.points) for curve in shown.curves],
        title=f"{shown.title}, and {known.name} (dashed)" if known else shown.title,
        x_label=shown.x_label,
        y_label=shown.y_label,
        reference=Series(known.name, known.points) if known else None,
    )


def distances(shown: Functions) -> str:
    """State how far each function is from the one that they started from, over the points that both have."""
    if shown.reference is None:
        return ""
    known = dict(shown.reference.points)
    found = ", ".join(
        f"{curve.name} {max((abs(y - known.get(x, y)) for x, y in curve.points), default=0):.2g}"
        for curve in shown.curves
    )
    return f"Largest distance from {shown.reference.name}: {found}."


def shaded(tokens: Sequence[str], weights: Sequence[float]) -> list[tuple[str, int, float]]:
    """Return each token with its share of the largest weight in percent, and its weight."""
    largest = max(weights, default=0) or 1.0
    return [(token, round(100 * w / largest), w) for token, w in zip(tokens, weights, strict=False)]
