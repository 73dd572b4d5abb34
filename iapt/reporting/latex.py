"""A document as LaTeX that a paper can include: two-column floats, and longer tables in a separate file.

A grid that fits a page is a ``table*`` with booktabs rules. One with long texts or many lines is a
``longtable`` of paragraphs, which needs a one-column part, such as an appendix.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

from tabulate import tabulate

from iapt.reporting.render import PLAIN, Document, Grid, Marks, clean, narrowed, texts

WIDE, TALL = 130, 48  # characters and lines beyond which a float is illegible or leaves the page
FONTS = (("\\scriptsize", 72), ("\\tiny", 102))  # characters that fit a text width of 345 pt
EM = 0.55  # the width of a character in em
PACKAGES = "adjustbox,array,booktabs,longtable"

_TEX: Marks = PLAIN | {"best": r"\textbf{{{}}}", "second": r"\underline{{{}}}"}
_TEX["heading"] = r"\textit{{{}}}"
_FLOAT = r"""
\begin{table*}[t]
\centering\small
\begin{adjustbox}{max width=\textwidth}
%s
\end{adjustbox}
\caption{%s}
\label{%s}
\end{table*}
"""
_LONG = r"""
{%s\setlength{\tabcolsep}{3pt}\setlength{\LTcapwidth}{\linewidth}
%s
\caption{%s}
\label{%s} \\
%s\midrule \endfirsthead
%s\midrule \endhead
%s}
"""
# Characters, each followed by its LaTeX form.
_LETTERS = r"""
    \ \textbackslash{}  ^ \textasciicircum{}  ~ \textasciitilde{}  < \textless{}  > \textgreater{}  | \textbar{}
    – --  — ---  − $-$  × $\times$  ± $\pm$  ≥ $\geq$  ≤ $\leq$  " ''  … \ldots{}
    † $^\dagger$  ‡ $^\ddagger$  § \S{}  ² $^2$  ³ $^3$  Θ $\Theta$  Ω $\Omega$
"""
_PAIRS = _LETTERS.split()
# After a line break or an item, a bracket or a star would be read as its argument.
_LATEX = {
    **{letter: f"\\{letter}" for letter in "{}$&#%_"},
    **{letter: f"{{{letter}}}" for letter in "[*"},
    **dict(zip(_PAIRS[::2], _PAIRS[1::2], strict=True)),
}


def latex(document: Document) -> str:
    """Render the document's own grids; `latex_details` renders its details."""
    title = re.sub(r"^(Table|Figure) \d+: ", "", document.title)  # LaTeX numbers tables itself
    parts = [_preamble(document)]
    for number, grid in enumerate(document.grids):
        heading = grid.title or f"{title[:1].upper()}{title[1:].rstrip('.')}"
        sentences = [f"{heading}.", *(document.intro if number == 0 else [])]
        caption, label = latex_escape(" ".join(sentences)), _label(document.name, number)
        if _fits(grid):
            parts.append(_FLOAT % (_tabular(grid), caption, label))
        else:
            parts.append(_longtable(grid, caption, label))
    return "\n".join(parts)


def latex_details(document: Document) -> str:
    """Render the details as tables that can break across pages, with all notes; empty without details."""
    parts = []
    for number, grid in enumerate(document.details):
        caption = latex_escape(f"{grid.title or document.title}.")
        parts.append(_longtable(grid, caption, _label(f"{document.name}-details", number)))
    notes = "\n".join(rf"\item {latex_escape(note)}" for note in document.notes)
    parts += [f"\\begin{{itemize}}\n{notes}\n\\end{{itemize}}\n"] if notes else []
    return "\n".join([_preamble(document), *parts]) if document.details else ""


def latex_escape(text: object) -> str:
    """Escape every character that is special in LaTeX; any other beyond Latin-1 becomes a question mark."""
    parts = re.split("-(?=-)", clean(text))  # two hyphens would become a dash
    return "-{}".join(
        "".join(_LATEX.get(letter, letter if letter < "\u0100" else "?") for letter in part)
        for part in parts
    )


def _fits(grid: Grid) -> bool:
    sizes = narrowed(texts(grid, clean, PLAIN), 10**6, whole_words=False) or []
    return sum(sizes) <= WIDE and len(grid.lines) <= TALL


def _tabular(grid: Grid) -> str:
    align = ["left", *["center"] * (len(grid.head) - 1)]
    lines = texts(grid, latex_escape, _TEX, r"{{\scriptsize [{}]}}")
    text = tabulate(lines, "firstrow", tablefmt="latex_raw", disable_numparse=True, colalign=align)
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        text = text.replace(r"\hline", rule, 1)
    return text


def _longtable(grid: Grid, caption: str, label: str) -> str:
    plain = texts(grid, clean, PLAIN)
    found = ((font, narrowed(plain, width, whole_words=True)) for font, width in FONTS)
    font, sizes = next(((font, sizes) for font, sizes in found if sizes), ("", None))
    if sizes is None:
        return "\n".join(_shrunk(grid, caption, label))
    natural = [max(map(len, column)) for column in zip(*plain, strict=True)]
    columns = "".join(
        "l" if size == whole else rf">{{\raggedright\arraybackslash}}p{{{EM * size:g}em}}"
        for size, whole in zip(sizes, natural, strict=True)
    )
    text = _tabular(grid).replace("tabular", "longtable").replace(r"\_", r"\_\allowbreak{}")
    begin, _, rest = text.partition("\n")
    begin = re.sub(r"{[lc]+}$", lambda _: f"{{{columns}}}", begin)
    head, _, body = rest.partition(r"\midrule")
    return _LONG % (font, begin, caption, label, head, head, body)


def _shrunk(grid: Grid, caption: str, label: str) -> Iterator[str]:
    """Yield floats for a grid with too many columns for a longtable."""
    for start in range(0, max(1, len(grid.lines)), TALL):
        part = replace(grid, lines=grid.lines[start : start + TALL])
        more = f"-from-{start + 1}" if start else ""
        yield _FLOAT % (_tabular(part), f"{caption} Continued." if start else caption, label + more)


def _preamble(document: Document) -> str:
    return f"% {clean(document.title)}\n% Needs \\usepackage{{{PACKAGES}}}; a longtable needs one column."


def _label(name: str, number: int) -> str:
    plain = "".join(letter if letter.isalnum() else "-" for letter in name)
    return f"tab:{plain}{f'-{number + 1}' if number else ''}"
