"""The verdict on each of the paper's claims, with its rows as evidence."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from iapt.reporting import measures
from iapt.reporting.choose import Scope
from iapt.reporting.claims import Claim, load_claims
from iapt.reporting.evidence import Evidence, lack_of
from iapt.reporting.ledger import disagreements, in_several
from iapt.reporting.measures import FOUND, Standing, count_text, p_text
from iapt.reporting.render import DASH, Document, Grid
from iapt.reporting.spec import MAIN_BACKBONE, line
from iapt.results.cells import Cell
from iapt.results.comparison import Comparison, adjusted, compare
from iapt.results.curves import FEWEST, flatter, variation

Verdict = Literal["reproduced", "contradicted", "undecided", "not run"]
RULE = (
    "A claim that one method beats others needs all seeds of all of them, and a difference above zero "
    "from each, over seeds and test items drawn at random (without per-item scores, such as those of Table 3, "
    "over seeds alone: the test set then counts as fixed); a difference below zero contradicts it. p is "
    "the claim's own, two-sided: the largest over its comparisons, or for a contradiction the smallest "
    "times their number. p (Holm) adjusts it for all claims of the same table that were tested, and must "
    "be at most 0.05; otherwise the claim is undecided."
)
ACROSS = (
    "Papers differ in size, splits and decoding: iapt-table ledger has every figure and its source."
)
ELSEWHERE = (
    "At this scale, the questions of Tables 5 and 7 and of the figures are also asked on SST-2, which takes less "
    "time; the paper claims nothing about SST-2 there."
)
MOST = 4  # reasons for "not run" that are listed


@dataclass(frozen=True)
class Finding:
    """The verdict on a claim, and the reason.

    Attributes:
        comparisons: The comparisons behind it.
        p: Two-sided p-value of the claim, even if some of its rows are missing; None if nothing was tested.
        p_holm: The same, adjusted for the other claims of its table.
    """

    verdict: Verdict
    reason: str
    run_ids: tuple[str, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    p: float | None = None
    p_holm: float | None = None


def claims_document(cells: Sequence[Cell], scope: Scope | None = None) -> Document:
    """List all claims with their verdicts.

    Args:
        cells: As `collect` returns them.
        scope: Defaults to the paper's setting; for any other, the title warns that it is not the paper's.
    """
    scope = scope or Scope()
    evidence = Evidence(cells, scope)
    claims = load_claims(small=bool(scope.name))
    findings = list(zip(claims, judge_all(claims, evidence), strict=True))
    counts = ", ".join(
        f"{sum(finding.verdict == verdict for _, finding in findings)} {verdict}"
        for verdict in get_args(Verdict)
    )
    title = f"The paper's claims in its own setting ({scope.main_backbone})"
    if not scope.is_paper:
        title = f"The paper's claims in another setting ({scope.words}): NOT a reproduction"
    intro = [f"{len(findings)} claims: {counts}.", *([ELSEWHERE] if scope.name else []), RULE]
    remarks = [
        *measures.detectable_note(c for _, found in findings for c in found.comparisons),
        *([scope.left_out] if scope.left_out else []),
        *evidence.notes,
    ]
    document = Document(scope.stem("claims"), title, intro, notes=remarks)
    lines = [
        [
            *(c.text, c.source, found.verdict),
            DASH if found.verdict == "not run" else p_text(found.p_holm),
            found.reason,
        ]
        for c, found in findings
    ]
    heads = ("Claim", "Source", "Verdict", "p (Holm)", "Because")
    document.grids.append(Grid(heads, lines))
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
            "p": found.p,
            "p_holm": found.p_holm,
            "because": found.reason,
            "rule": RULE,
            "run_ids": " ".join(found.run_ids),
        }
        for claim, found in findings
    ]
    return document


def judge_all(claims: Sequence[Claim], evidence: Evidence) -> list[Finding]:
    """Test claims against the rows; those of one table are one family of tests."""
    findings = [_RULES[claim.kind](claim, evidence) for claim in claims]
    for table in dict.fromkeys(claim.table for claim in claims):
        places = [k for k, claim in enumerate(claims) if claim.table == table]
        p_values = adjusted([findings[k].p for k in places])
        for k, p_holm in zip(places, p_values, strict=True):
            found = findings[k] = replace(findings[k], p_holm=p_holm)
            if found.p is not None and p_holm is not None and found.p <= FOUND < p_holm:
                what = f"; p {p_text(found.p)}, but too large once adjusted for the claims of its table"
                findings[k] = replace(found, verdict="undecided", reason=found.reason + what)
    return findings


@dataclass(frozen=True)
class _Compared:
    """One comparison of a claim, with the one-sided p-values of a win and of a loss of the left."""

    comparison: Comparison
    text: str

    @property
    def p_won(self) -> float:
        return self._one_sided(self.comparison.difference > 0)

    @property
    def p_lost(self) -> float:
        return self._one_sided(self.comparison.difference < 0)

    def _one_sided(self, in_direction: bool) -> float:
        p = self.comparison.p
        if p is None:  # nothing varies, so nothing is known
            return 1.0
        return p / 2 if in_direction else 1 - p / 2


def _beats(claim: Claim, evidence: Evidence) -> Finding:
    """Compare every pair; the left method must win all of them."""
    runs: dict[str, None] = {}
    lacking: dict[str, None] = {}
    found: list[_Compared] = []
    for pair in claim.pairs:
        left, right = (evidence.find(wanted, claim, claim.task) for wanted in pair)
        lack = [
            text
            for x, cell in zip(pair, (left, right), strict=True)
            if (text := lack_of(x, cell, claim))
        ]
        comparison = compare(left, right, claim.metric) if left and right and not lack else None
        if left is None or right is None or comparison is None:
            differ = f"{pair[0].label} and {pair[1].label} differ in data or decoding"
            lacking |= dict.fromkeys(lack or [differ])
            continue
        runs |= dict.fromkeys([*left.run_ids, *right.run_ids])
        text = f"{_difference(comparison)} over {pair[1].label}"
        text = f"{pair[0].label}: {text}" if len(claim.pairs) > 1 and pair[0].varied else text
        found.append(_Compared(comparison, text))
    p_lost = min([1.0, *(len(claim.pairs) * one.p_lost for one in found)])
    p_won = 1.0 if lacking else max(one.p_won for one in found)
    verdict, p = _decided(p_won, p_lost)
    if lacking and verdict != "contradicted":
        more = f"; and {len(lacking) - MOST} more" if len(lacking) > MOST else ""
        # What was tested for a contradiction is one of its table's tests, whatever came of it.
        tested = p if found else None
        return Finding("not run", "; ".join(list(lacking)[:MOST]) + more, p=tested)
    shown = {
        "contradicted": [o for o in found if 2 * len(claim.pairs) * o.p_lost <= FOUND],
        "undecided": [o for o in found if 2 * o.p_won > FOUND],
    }.get(verdict, found)
    reason = "; ".join(one.text + _REMARKS.get(verdict, "") for one in shown)
    bases = " and ".join(dict.fromkeys(one.comparison.basis for one in found))
    comparisons = tuple(one.comparison for one in found)
    return Finding(verdict, f"{reason}; {bases}", tuple(runs), comparisons, p)


_REMARKS: Mapping[Verdict, str] = {
    "contradicted": ", the opposite of the claim",
    "undecided": ", which may be chance",
}


def _decided(p_won: float, p_lost: float) -> tuple[Verdict, float]:
    """Return the verdict that two one-sided p-values give before adjustment, and the two-sided p-value."""
    p = min(1.0, 2 * min(p_won, p_lost))
    if p > FOUND:
        return "undecided", p
    return ("reproduced" if p_won < p_lost else "contradicted"), p


def _difference(comparison: Comparison) -> str:
    interval, budget = comparison.interval, comparison.budget
    around = f" ({interval.low:+.2f} to {interval.high:+.2f})" if interval else ""
    times = f" with {budget:.2g} times the trained parameters" if comparison.unequal else ""
    return f"{comparison.difference:+.2f}{around}{times}"


def _count(claim: Claim, evidence: Evidence) -> Finding:
    """Compare a parameter count with the printed one, in millions with one decimal."""
    if evidence.scope.main_backbone != MAIN_BACKBONE:
        return Finding("not run", f"the claim is about a count on {MAIN_BACKBONE}")
    wanted = line(claim.raw["left"])
    found = evidence.trained(wanted, claim)
    if found is None:
        return Finding("not run", f"{wanted.label} has no row with a count")
    right = f"{found[0] / 1e6:.1f}" == f"{claim.raw['millions']:.1f}"
    text = f"counted {count_text(found[0])} ({found[0]:,.0f})"
    return Finding("reproduced" if right else "contradicted", text, found[1].run_ids)


def _smaller(claim: Claim, evidence: Evidence) -> Finding:
    """Compare two parameter counts: the left may be at most `factor` times the right."""
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
    """Compare how much the scores vary along two series, beyond the noise of their seeds."""
    sides: tuple[list[Cell], list[Cell]] = ([], [])
    for pair in claim.pairs:
        for side, wanted in zip(sides, pair, strict=True):
            cell = evidence.find(wanted, claim, claim.task)
            if cell is None or (lack := lack_of(wanted, cell, claim)):
                return Finding("not run", lack if cell else f"{wanted.label} has no row")
            side.append(cell)
    runs = tuple(run for pair in zip(*sides, strict=True) for cell in pair for run in cell.run_ids)
    medians = [[Standing(cell, (), claim.metric).median or 0.0 for cell in side] for side in sides]
    left, right = (max(side) - min(side) for side in medians)
    text = f"medians range over {left:.2f} points against {right:.2f}"
    seeds = sides[0][0].seeds
    if len(seeds) < FEWEST:
        return Finding("undecided", f"{text}; fewer than {FEWEST} seeds say nothing more", runs)
    ours, theirs = (
        [[cell.scores(claim.metric)[seed] for cell in side] for seed in seeds] for side in sides
    )
    found = flatter(ours, theirs)
    if found.p is None:
        return Finding("undecided", f"{text}, without any spread over seeds", runs)
    lost = found.p / 2 if found.mean < 0 else 1 - found.p / 2
    verdict, p = _decided(1 - lost, lost)
    text += (
        f"; without the noise of seeds, the variance is {variation(ours):.2f} against "
        f"{variation(theirs):.2f} points squared over {found.basis}, the test set taken as fixed"
    )
    return Finding(verdict, text, runs, p=p)


_RULES: Mapping[str, Callable[[Claim, Evidence], Finding]] = {
    "beats": _beats,
    "count": _count,
    "smaller": _smaller,
    "flatter": _flatter,
    "bench": lambda *_: Finding("not run", "iapt-bench measures this; result rows do not have it"),
}
