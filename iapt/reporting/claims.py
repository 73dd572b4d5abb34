"""The paper's claims, each reproduced, contradicted, undecided or not run, with its rows as evidence."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, get_args

from iapt.reporting.choose import Scope, comparable
from iapt.reporting.ledger import disagreements, in_several
from iapt.reporting.measures import Standing, count_text
from iapt.reporting.render import Document, Grid
from iapt.reporting.spec import MAIN_BACKBONE, Line, line, load, load_table
from iapt.results.cells import Cell, Comparison, compare

Verdict = Literal["reproduced", "contradicted", "undecided", "not run"]
RULE = (
    "A beats B if both have all seeds, the difference of their medians is above zero, and so is the "
    "whole 95 % bootstrap interval of the IQM of the seed-paired differences. B beats A if that "
    "interval is below zero: the claim is contradicted. Otherwise it is undecided. A claim over "
    "several baselines or points needs every one of them, and a single contradiction refutes it."
)
ACROSS = (
    "Papers differ in size, splits and decoding: iapt-table ledger has every figure and its source."
)
MOST = 4  # reasons for "not run" listed in full


@dataclass(frozen=True)
class Claim:
    """One claim: pairs (left, right) to compare, or a rule of its own (`kind`)."""

    id: str
    kind: str
    text: str
    source: str
    backbone: str
    task: str
    metric: str | None
    pairs: tuple[tuple[Line, Line], ...]
    raw: Mapping[str, Any]


@dataclass(frozen=True)
class Finding:
    """The verdict on a claim, and the reason."""

    verdict: Verdict
    reason: str
    run_ids: tuple[str, ...] = ()


def load_claims() -> list[Claim]:
    """Expand ``paper/claims.yaml`` into one claim per task and group of baselines."""
    return [claim for entry in load("claims")["claims"] for claim in _expand(entry)]


def claims_document(cells: Sequence[Cell], scope: Scope | None = None) -> Document:
    """List all claims with their verdicts.

    Args:
        cells: As `collect` returns them.
        scope: Defaults to the paper's setting; for any other, the title says that it is not the paper's.
    """
    scope = scope or Scope()
    evidence = Evidence(cells, scope)
    findings = [(claim, judge(claim, evidence)) for claim in load_claims()]
    counts = ", ".join(
        f"{sum(finding.verdict == verdict for _, finding in findings)} {verdict}"
        for verdict in get_args(Verdict)
    )
    title = f"The paper's claims in its own setting ({scope.main_backbone})"
    if not scope.is_paper:
        title = f"The paper's claims in another setting ({scope.words}): NOT a reproduction"
    intro = [f"{len(findings)} claims: {counts}.", RULE]
    notes = [*([scope.left_out] if scope.left_out else []), *evidence.notes]
    document = Document(scope.stem("claims"), title, intro, notes=notes)
    lines = [[c.text, c.source, found.verdict, found.reason] for c, found in findings]
    document.grids.append(Grid(("Claim", "Source", "Verdict", "Because"), lines))
    if scope.is_paper:
        document.details += [disagreements(), in_several()]
        document.notes.append(ACROSS)
    behind = [[c.id, " ".join(found.run_ids)] for c, found in findings if found.run_ids]
    if behind:
        document.details.append(Grid(("Claim", "Runs"), behind, "Rows behind the verdicts"))
    document.records = [
        {
            "id": claim.id,
            "claim": claim.text,
            "source": claim.source,
            "backbone": claim.backbone,
            "task": claim.task,
            "verdict": found.verdict,
            "because": found.reason,
            "rule": RULE,
            "run_ids": " ".join(found.run_ids),
        }
        for claim, found in findings
    ]
    return document


class Evidence:
    """The cells of one scope, made comparable once per backbone, and found by line."""

    def __init__(self, cells: Sequence[Cell], scope: Scope) -> None:
        """Keep the cells that the scope takes."""
        self.scope = scope
        self.cells = [cell for cell in cells if scope.takes(cell)]
        self.notes: list[str] = []
        self._pools: dict[tuple[str, bool], list[Cell]] = {}

    def find(self, wanted: Line, claim: Claim, task: str) -> Cell | None:
        """Return the cell of a line on a task; of several, the one with the most rows."""
        main = claim.backbone == MAIN_BACKBONE
        pool = self._pool(self.scope.main_backbone if main else claim.backbone, bool(wanted.varied))
        found = [cell for cell in pool if cell.task == task and wanted.names(cell)]
        return max(found, key=lambda cell: len(cell.rows), default=None)

    def trained(self, wanted: Line, claim: Claim) -> tuple[float, Cell] | None:
        """Return the trained parameters of a line, on any task, and the cell that states them."""
        for task in dict.fromkeys(cell.task for cell in self.cells):
            cell = self.find(wanted, claim, task)
            if cell and cell.trained is not None:
                return cell.trained, cell
        return None

    def _pool(self, backbone: str, varied: bool) -> list[Cell]:
        key = (backbone, varied)
        if key not in self._pools:
            here = [
                c for c in self.cells if c.backbone == backbone and (varied or not self._stray(c))
            ]
            self._pools[key], notes = comparable(here, per_numbers=varied)
            self.notes += [note for note in notes if note not in self.notes]
        return self._pools[key]

    def _stray(self, cell: Cell) -> bool:
        """Say whether a cell departs from Table 1's values, as a point of a figure does."""
        known = [item for block in load_table("table1").blocks for item in block.lines]
        return any(x.names(cell) and x.strays(cell) for x in known)


def judge(claim: Claim, evidence: Evidence) -> Finding:
    """Test a claim against the rows."""
    return _RULES[claim.kind](claim, evidence)


def _beats(claim: Claim, evidence: Evidence) -> Finding:
    """Compare every pair; the left must win all."""
    runs: dict[str, None] = {}
    lacking: dict[str, None] = {}
    found: dict[Verdict, list[str]] = {verdict: [] for verdict in get_args(Verdict)}
    for pair in claim.pairs:
        left, right = (evidence.find(wanted, claim, claim.task) for wanted in pair)
        lack = [
            text
            for x, cell in zip(pair, (left, right), strict=True)
            if (text := _lack(x, cell, claim))
        ]
        comparison = compare(left, right, claim.metric) if left and right and not lack else None
        if left is None or right is None or comparison is None:
            differ = f"{pair[0].label} and {pair[1].label} differ in data or decoding"
            lacking |= dict.fromkeys(lack or [differ])
            continue
        runs |= dict.fromkeys([*left.run_ids, *right.run_ids])
        verdict = _verdict(comparison)
        text = f"{_difference(comparison)} over {pair[1].label}"
        text = f"{pair[0].label}: {text}" if len(claim.pairs) > 1 and pair[0].varied else text
        found[verdict].append(text + _REMARKS.get(verdict, ""))
    if lacking and not found["contradicted"]:
        more = f"; and {len(lacking) - MOST} more" if len(lacking) > MOST else ""
        return Finding("not run", "; ".join(list(lacking)[:MOST]) + more)
    for verdict in ("contradicted", "undecided"):
        if found[verdict]:
            return Finding(verdict, "; ".join(found[verdict]), tuple(runs))
    return Finding("reproduced", "; ".join(found["reproduced"]), tuple(runs))


_REMARKS: Mapping[Verdict, str] = {
    "contradicted": ", the opposite of the claim",
    "undecided": ", which five seeds cannot distinguish from chance",
}


def _verdict(comparison: Comparison) -> Verdict:
    interval = comparison.interval
    if interval is not None and interval.high < 0:
        return "contradicted"
    won = comparison.difference > 0 and interval is not None and interval.low > 0
    return "reproduced" if won else "undecided"


def _lack(wanted: Line, cell: Cell | None, claim: Claim) -> str:
    if cell is None:
        return f"{wanted.label} has no row"
    scored = cell.scores(claim.metric)
    missing = [str(seed) for seed in cell.seeds if seed not in scored]
    return f"{wanted.label} lacks seed {', '.join(missing)}" if missing else ""


def _difference(comparison: Comparison) -> str:
    interval = comparison.interval
    around = f" ({interval.low:+.2f} to {interval.high:+.2f})" if interval else ""
    return f"{comparison.difference:+.2f}{around}"


def _count(claim: Claim, evidence: Evidence) -> Finding:
    """Compare a count with the printed one, to one decimal."""
    if evidence.scope.main_backbone != MAIN_BACKBONE:
        return Finding("not run", f"a count on {MAIN_BACKBONE}")
    wanted = line(claim.raw["left"])
    found = evidence.trained(wanted, claim)
    if found is None:
        return Finding("not run", f"{wanted.label} has no row with a count")
    right = f"{found[0] / 1e6:.1f}" == f"{claim.raw['millions']:.1f}"
    text = f"counted {count_text(found[0])} ({found[0]:,.0f})"
    return Finding("reproduced" if right else "contradicted", text, found[1].run_ids)


def _smaller(claim: Claim, evidence: Evidence) -> Finding:
    """Compare two counts; comparable means at most `factor` times the other."""
    (pair,) = claim.pairs
    left, right = (evidence.trained(wanted, claim) for wanted in pair)
    if left is None or right is None:
        absent = pair[0] if left is None else pair[1]
        return Finding("not run", f"{absent.label} has no row with a count")
    factor = claim.raw["factor"]
    text = (
        f"{count_text(left[0])} against {count_text(right[0])} (allowed: {factor:g} times as many)"
    )
    runs = (*left[1].run_ids, *right[1].run_ids)
    return Finding("reproduced" if left[0] <= factor * right[0] else "contradicted", text, runs)


def _flatter(claim: Claim, evidence: Evidence) -> Finding:
    """Compare the range of medians along two series."""
    sides: tuple[list[float], list[float]] = ([], [])
    runs: list[str] = []
    for pair in claim.pairs:
        for side, wanted in zip(sides, pair, strict=True):
            cell = evidence.find(wanted, claim, claim.task)
            lack = _lack(wanted, cell, claim)
            median = Standing(cell, (), claim.metric).median if cell else None
            if lack or cell is None or median is None:
                return Finding("not run", lack)
            side.append(median)
            runs += cell.run_ids
    left, right = (max(side) - min(side) for side in sides)
    text = f"medians range over {left:.2f} points against {right:.2f}"
    return Finding("reproduced" if left < right else "contradicted", text, tuple(runs))


def _bench(claim: Claim, evidence: Evidence) -> Finding:
    """Efficiency is not in result rows."""
    return Finding("not run", "iapt-bench measures this; result rows do not have it")


_RULES: Mapping[str, Callable[[Claim, Evidence], Finding]] = {
    "beats": _beats,
    "count": _count,
    "smaller": _smaller,
    "flatter": _flatter,
    "bench": _bench,
}


def _expand(entry: Mapping[str, Any]) -> Iterator[Claim]:
    raw = load("claims")
    tasks, groups = entry.get("tasks", [entry.get("task", "")]), entry.get("against", [""])
    for task, against in product(tasks, groups):
        known = raw["tasks"].get(task, {"label": task, "metric": None})
        group = raw["groups"].get(against, {"label": "", "methods": []})
        parts = [entry["id"], task if len(tasks) > 1 else "", against if len(groups) > 1 else ""]
        yield Claim(
            "-".join(filter(None, parts)),
            entry["kind"],
            entry["text"].format(task=known["label"], against=group["label"]),
            entry["source"],
            entry.get("backbone", MAIN_BACKBONE),
            task,
            entry.get("metric", known["metric"]),
            tuple(_pairs(entry, group["methods"])),
            entry,
        )


def _pairs(entry: Mapping[str, Any], methods: Sequence[str]) -> Iterator[tuple[Line, Line]]:
    if "figure" in entry:
        points = {block.label: block.lines for block in load_table(entry["figure"]).blocks}
        yield from zip(points[entry["left"]], points[entry["right"]], strict=True)
    elif "left" in entry:
        rights = [*entry.get("rights", []), *([entry["right"]] if "right" in entry else [])]
        for right in [*rights, *({"method": method} for method in methods)]:
            yield line(entry["left"]), line(right)
