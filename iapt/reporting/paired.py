"""Every pair of methods compared, one matrix per setting and task."""

from collections.abc import Mapping, Sequence

from iapt.reporting import measures
from iapt.reporting.measures import UNEQUAL
from iapt.reporting.render import DASH, Document, Entry, Grid, Line
from iapt.reporting.summary import Section, sections
from iapt.results.cells import Cell
from iapt.results.comparison import Comparison, Pair, compare_all, one_per_method
from iapt.results.power import needed_items, needed_seeds

LEVEL = 0.05
INTRO = (
    "Row minus column in points, over seeds and test items drawn at random; bold where p (Holm), adjusted "
    f"for all pairs of the matrix, is at most {LEVEL}. Seeds are paired by number, items by their place in "
    "the test split. docs/statistics.md has the formulas."
)


def paired_document(cells: Sequence[Cell], detect: float = 1.0) -> Document:
    """Compare every pair of methods of one setting and task.

    Args:
        cells: As `collect` returns them.
        detect: A difference in points; the list states how many seeds or items would find it.
    """
    document = Document("paired", "Every pair of methods compared", [INTRO])
    found: list[Comparison] = []
    for section in sections(cells):
        for task in section.tasks:
            here = [cell for cell in section.cells if cell.task == task]
            chosen = one_per_method(here)
            pairs = compare_all(chosen)
            if not pairs:
                continue
            found += [pair.comparison for pair in pairs]
            document.grids.append(_matrix(f"{task}: {section.title}", chosen, pairs))
            title = f"{task}: every pair of setting {section.setting}"
            records = [_record(section, pair, detect) for pair in pairs]
            document.details.append(_list(title, pairs, records))
            document.records += records
            if len(chosen) < len(here):
                document.notes.append(
                    f"{task}, setting {section.setting}: {len(here) - len(chosen)} other cells of "
                    "these methods, with other values or rates, have fewer rows or a higher dev loss."
                )
    document.notes += measures.detectable_note(found)
    document.notes += measures.budget_note(found, "the other method")
    if not found:
        document.intro.append("No setting has rows of two methods on one task yet.")
    return document


def _matrix(title: str, cells: Sequence[Cell], pairs: Sequence[Pair]) -> Grid:
    entries: dict[tuple[str, str], Entry] = {}
    for pair in pairs:
        mark = UNEQUAL if pair.comparison.unequal else ""
        found = pair.p_holm is not None and pair.p_holm <= LEVEL
        for left, right, sign in ((pair.left, pair.right, 1), (pair.right, pair.left, -1)):
            value = round(sign * pair.comparison.difference, 1) + 0.0  # no negative zero
            text = f"{value:+.1f} {mark}".rstrip()
            entries[left.name, right.name] = Entry(text, "best" if found else "")
    names = [cell.name for cell in cells]
    lines: list[Line] = []
    for number, name in enumerate(names, start=1):
        across = ("" if name == other else entries.get((name, other), DASH) for other in names)
        lines.append([f"{number} {name}", *across])
    return Grid(["Method", *map(str, range(1, len(cells) + 1))], lines, title)


def _list(title: str, pairs: Sequence[Pair], records: Sequence[Mapping[str, object]]) -> Grid:
    detect = records[0]["detect"]
    heads = (
        *("Left", "Right", "Difference", "95 % interval", "Seeds won / lost / tied"),
        *("Items won / lost / tied", "p", "p (Holm)", "Detectable"),
        *(f"Seeds to detect {detect:g}", f"Items to detect {detect:g}", "Compared over"),
    )
    return Grid(heads, [_texts(*each) for each in zip(pairs, records, strict=True)], title)


def _texts(pair: Pair, record: Mapping[str, object]) -> list[str]:
    c = pair.comparison
    interval = c.interval
    needed = (record["seeds_to_detect"], record["items_to_detect"])
    left_out = f"; left out: seed {', '.join(map(str, c.left_out))}" if c.left_out else ""
    return [
        *(pair.left.name, pair.right.name, f"{c.difference:+.2f}"),
        f"{interval.low:+.2f} to {interval.high:+.2f}" if interval else DASH,
        *(c.by_seed.text, c.by_item.text if c.by_item else DASH),
        *map(measures.p_text, (c.p, pair.p_holm)),
        measures.number(c.detectable, 1),
        *(DASH if size is None else f"{size:,}" for size in needed),
        c.basis + left_out,
    ]


def _record(section: Section, pair: Pair, detect: float) -> dict[str, object]:
    names = ("backbone", "hparams", "data", "setting")
    estimate = pair.comparison.estimate
    return {
        **{name: getattr(section, name) for name in names},
        **pair.facts(),
        "detect": detect,
        "seeds_to_detect": needed_seeds(estimate, detect),
        "items_to_detect": needed_items(estimate, detect),
    }
