"""The rules by which a claim of the paper is held against cells.

Rule for "A beats B": both have all seeds on comparable settings, the difference of their medians is
above zero, and so is the whole 95 % bootstrap interval of the IQM of the seed-paired differences. A
claim over several baselines or points needs every one of them; a single decided failure refutes it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from iapt.reporting.choose import Scope, comparable
from iapt.reporting.entries import count_text
from iapt.reporting.spec import MAIN_BACKBONE, Line, line, load_table
from iapt.results.cells import Cell, Comparison, compare
from iapt.results.statistics import median

Verdict = Literal["reproduced", "not reproduced", "not run"]
RULE = (
    "A beats B: all seeds on both sides, difference of medians > 0, and the 95 % bootstrap "
    "interval of the IQM of the seed-paired differences > 0; over several baselines or points, "
    "every one."
)


@dataclass(frozen=True)
class Claim:
    """One claim: pairs (left, right) to be compared, or a rule of its own (`kind`)."""

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
    """What the rows say about a claim."""

    claim: Claim
    verdict: Verdict
    reason: str
    run_ids: tuple[str, ...] = ()


class Evidence:
    """The cells of one scope, made comparable once per backbone and looked up by line."""

    def __init__(self, cells: Sequence[Cell], scope: Scope) -> None:
        """Keep the cells that the scope takes."""
        self.scope = scope
        self.cells = [cell for cell in cells if scope.takes(cell)]
        self.notes: list[str] = []
        self._pools: dict[tuple[str, bool], list[Cell]] = {}

    def find(self, wanted: Line, claim: Claim, task: str) -> Cell | None:
        """Return the cell of a line on a task, the one with the most rows of several."""
        backbone = claim.backbone
        if backbone == MAIN_BACKBONE:
            backbone = self.scope.main_backbone
        key = (backbone, wanted.varied)
        if key not in self._pools:
            here = [
                cell
                for cell in self.cells
                if cell.backbone == backbone and (wanted.varied or not self._stray(cell))
            ]
            self._pools[key], notes = comparable(here, per_numbers=wanted.varied)
            self.notes += [note for note in notes if note not in self.notes]
        found = [
            cell
            for cell in self._pools[key]
            if cell.task == task
            and wanted.names(cell)
            and not (wanted.varied and wanted.strays(cell))
        ]
        return max(found, key=lambda cell: len(cell.rows), default=None)

    def _stray(self, cell: Cell) -> bool:
        """In the paper's setting a method has Table 1's numbers; elsewhere whatever was run."""
        return self.scope.is_paper and any(
            known.names(cell) and known.strays(cell) for known in _TABLE1
        )


_TABLE1 = [known for block in load_table("table1").blocks for known in block.lines]


def judge(claims: Sequence[Claim], evidence: Evidence) -> list[Finding]:
    """Hold each claim against the rows."""
    rules = {
        "beats": _beats,
        "along": _beats,
        "count": _count,
        "smaller": _smaller,
        "flatter": _flatter,
        "bench": _bench,
    }
    return [rules[claim.kind](claim, evidence) for claim in claims]


def named_line(raw: Mapping[str, Any]) -> Line:
    """Build a line that has a method and perhaps variants, but no label of its own."""
    label = raw.get("variants", [raw["method"]])[0]
    return line({"label": label, **raw})


def _beats(claim: Claim, evidence: Evidence) -> Finding:
    """Compare every pair; all must win."""
    runs: dict[str, None] = {}
    lacking: list[str] = []
    failed: list[str] = []
    won: list[str] = []
    for left_line, right_line in claim.pairs:
        left = evidence.find(left_line, claim, claim.task)
        right = evidence.find(right_line, claim, claim.task)
        sides = ((left_line, left), (right_line, right))
        lack = [
            f"{wanted.label} {text}"
            for wanted, cell in sides
            if (text := _lack(cell, claim.metric))
        ]
        if lack or left is None or right is None:
            lacking += [text for text in lack if text not in lacking]
            continue
        comparison = compare(left, right, claim.metric)
        if comparison is None:
            lacking.append(f"{left_line.label} and {right_line.label} differ in data or decoding")
            continue
        runs.update(dict.fromkeys([*left.run_ids, *right.run_ids]))
        text = f"{_difference(comparison)} over {right_line.label}"
        if len(claim.pairs) > 1 and left_line.varied:
            text = f"{left_line.label}: {text}"
        if _wins(comparison):
            won.append(text)
        else:
            reverse = comparison.interval is not None and comparison.interval.high < 0
            failed.append(f"{text}, {'the other way round' if reverse else 'undecided'}")
    if failed:
        return Finding(claim, "not reproduced", "; ".join(failed), tuple(runs))
    if lacking:
        more = f"; and {len(lacking) - 4} more" if len(lacking) > 4 else ""
        return Finding(claim, "not run", "; ".join(lacking[:4]) + more)
    return Finding(claim, "reproduced", "; ".join(won), tuple(runs))


def _lack(cell: Cell | None, metric: str | None) -> str:
    if cell is None:
        return "has no row"
    scored = cell.scores(metric)
    missing = [str(seed) for seed in cell.seeds if seed not in scored]
    return f"lacks seed {', '.join(missing)}" if missing else ""


def _wins(comparison: Comparison) -> bool:
    interval = comparison.interval
    return comparison.difference > 0 and interval is not None and interval.low > 0


def _difference(comparison: Comparison) -> str:
    interval = comparison.interval
    around = f" ({interval.low:+.2f} to {interval.high:+.2f})" if interval else ""
    return f"{comparison.difference:+.2f}{around}"


def _trained(wanted: Line, claim: Claim, evidence: Evidence) -> tuple[float, Cell] | None:
    for task in dict.fromkeys(cell.task for cell in evidence.cells):
        cell = evidence.find(wanted, claim, task)
        count = cell.trained if cell else None
        if cell and count is not None:
            return count, cell
    return None


def _count(claim: Claim, evidence: Evidence) -> Finding:
    """Compare a count with the printed one, to its one decimal."""
    if evidence.scope.main_backbone != MAIN_BACKBONE:
        return Finding(claim, "not run", f"a count on {MAIN_BACKBONE}")
    found = _trained(named_line(claim.raw["left"]), claim, evidence)
    if found is None:
        return Finding(claim, "not run", f"{claim.raw['left']['method']} has no row with a count")
    right = f"{found[0] / 1e6:.1f}" == f"{claim.raw['millions']:.1f}"
    return Finding(
        claim,
        "reproduced" if right else "not reproduced",
        f"counted {count_text(found[0])} ({found[0]:,.0f})",
        found[1].run_ids,
    )


def _smaller(claim: Claim, evidence: Evidence) -> Finding:
    """Compare two counts; comparable is at most `factor` times the other's."""
    ((left_line, right_line),) = claim.pairs
    left, right = (_trained(wanted, claim, evidence) for wanted in (left_line, right_line))
    if left is None or right is None:
        absent = left_line if left is None else right_line
        return Finding(claim, "not run", f"{absent.label} has no row with a count")
    holds = left[0] <= claim.raw["factor"] * right[0]
    return Finding(
        claim,
        "reproduced" if holds else "not reproduced",
        f"{count_text(left[0])} against {count_text(right[0])} (allowed: "
        f"{claim.raw['factor']:g} times as many)",
        (*left[1].run_ids, *right[1].run_ids),
    )


def _flatter(claim: Claim, evidence: Evidence) -> Finding:
    """Compare the range of medians along two series."""
    sides: tuple[list[float], list[float]] = ([], [])
    runs: list[str] = []
    for pair in claim.pairs:
        for side, wanted in zip(sides, pair, strict=True):
            cell = evidence.find(wanted, claim, claim.task)
            lack = _lack(cell, claim.metric)
            if lack or cell is None:
                return Finding(claim, "not run", f"{wanted.label} {lack}")
            side.append(median(list(cell.scores(claim.metric).values())))
            runs += cell.run_ids
    left, right = (max(side) - min(side) for side in sides)
    return Finding(
        claim,
        "reproduced" if left < right else "not reproduced",
        f"medians range over {left:.2f} points against {right:.2f}",
        tuple(runs),
    )


def _bench(claim: Claim, evidence: Evidence) -> Finding:
    """Efficiency is not in result rows."""
    return Finding(claim, "not run", "measured by iapt-bench, not by result rows")
