"""What all pictures share: style, colours, and the conversion of a figure to SVG."""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from itertools import pairwise

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from iapt.reporting.render import clean

INK, PAPER = "#333333", "#ffffff"  # the two colours that a dark page replaces
FAINT = "#88888866"  # for lines in the background; visible on light and dark pages
# Okabe and Ito's palette, whose colours colour-blind readers can distinguish, without black and yellow.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
LARGEST = 1e15  # points beyond it, and NaN, are left out
WIDTH, HEIGHT, FONT = 6.2, 3.1, 9  # inches, inches, points
LETTER = 0.56 * FONT  # points; the width of a letter
LONGEST = 24  # letters of a label

_STYLE = {
    "svg.hashsalt": "iapt",  # identifiers would be random otherwise
    "svg.fonttype": "none",  # text stays text
    "text.parse_math": False,  # a dollar sign in a label is a dollar sign
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so widths are the same everywhere
    "font.size": FONT,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor"), INK),
    **dict.fromkeys(("xtick.color", "ytick.color"), INK),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right"), False),
    **{"axes.grid": True, "axes.grid.axis": "y", "grid.color": "#8888884d"},
}


@contextmanager
def drawing() -> Iterator[None]:
    """Draw in the style of all pictures, whatever the user's own settings are."""
    with style.context(["default", _STYLE]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a label may contain characters that the font lacks
        yield


def new_figure(height: float = HEIGHT) -> Figure:
    """Return an empty figure of the common width."""
    figure = Figure(figsize=(WIDTH, height))
    FigureCanvasSVG(figure)
    return figure


def svg_of(figure: Figure, title: str) -> str:
    """Return a figure as an ``<svg>`` element with an accessible title, without a prologue or unused identifiers."""
    file = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(file, format="svg", metadata=nothing)
    svg = file.getvalue()
    element = re.sub(r' id="[a-z][\w.]*_\d+"', "", svg[svg.index("<svg") :])
    head, _, rest = element.partition(">")
    return f'{head} role="img"><title>{escape(clean(title))}</title>{rest}'


def short(label: str) -> str:
    """Return a label on one line, cut to the letters that fit."""
    return clean(label)[:LONGEST]


def colour(number: int) -> str:
    """Return the colour of a line by its number."""
    return COLOURS[number % len(COLOURS)]


def finite(value: float, log: bool = False) -> bool:
    """Return whether a value can be drawn on an axis."""
    return abs(value) < LARGEST and not (log and value <= 0)


def label_axes(axes: Axes, title: str, x_label: str, y_label: str) -> None:
    """Set the texts of a picture."""
    axes.set_title(clean(title), loc="left", fontsize=FONT + 1)
    axes.set_xlabel(clean(x_label))
    axes.set_ylabel(clean(y_label))


def scale_x(axes: Axes, values: Sequence[float], log: bool) -> None:
    """Set the horizontal axis; a logarithmic one has a tick at each value if these are few."""
    if log:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        few = sorted(set(values))
        if len(few) <= 8 and all(b >= 1.5 * a for a, b in pairwise(few)):
            axes.set_xticks(few)
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    amounts(axes.xaxis)


def amounts(axis: Axis) -> None:
    """Write the numbers of an axis as 250, 10k, 1.2M, 3B."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: amount(value)))


def scale_y(axes: Axes) -> None:
    """Set the vertical axis; non-negative values have no tick below zero."""
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    low, high = axes.get_ylim()
    if low < 0 <= axes.dataLim.y0:
        axes.set_ylim(0, max(high, 1.0) if axes.dataLim.y1 == 0 else high)


def amount(value: float) -> str:
    """Return 250, "10k", "1.2M" or "3B", with at most four digits."""
    # Below each limit, rounding keeps the number in the digits of its own unit.
    for least, size, unit in ((999.5e6, 1e9, "B"), (999.5e3, 1e6, "M"), (9999.5, 1e3, "k")):
        if abs(value) >= least:
            return f"{value / size:.3g}{unit}"
    return f"{value:.4g}"
