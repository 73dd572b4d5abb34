"""The paper's claims, each reproduced, not reproduced or not run, with the rows behind it."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from iapt.reporting.choose import Scope
from iapt.reporting.render import Document, Grid
from iapt.reporting.spec import MAIN_BACKBONE, Line, figure_lines, load
from iapt.reporting.verdicts import RULE, Claim, Evidence, judge, named_line
from iapt.results.cells import Cell


def load_claims() -> list[Claim]:
    """Expand ``paper/claims.yaml`` into one claim per task and group of baselines."""
    raw = load("claims")
    return [claim for entry in raw["claims"] for claim in _expand(entry, raw)]


def claims_document(cells: Sequence[Cell], scope: Scope | None = None) -> Document:
    """Build the list of all claims with their verdicts.

    Args:
        cells: As `collect` gives them.
        scope: Defaults to the paper's setting; any other is titled as not the paper's.
    """
    scope = scope or Scope()
    evidence = Evidence(cells, scope)
    findings = judge(load_claims(), evidence)
    counts = ", ".join(
        f"{sum(finding.verdict == verdict for finding in findings)} {verdict}"
        for verdict in ("reproduced", "not reproduced", "not run")
    )
    setting = f"{scope.main_backbone}, hparams {scope.hparams}, data {scope.data}"
    title = f"The paper's claims in its own setting ({setting})"
    if not scope.is_paper:
        title = f"The paper's claims in another setting ({setting}): NOT a reproduction"
    grids = [
        Grid(
            ("Claim", "Source", "Verdict", "Because"),
            [
                [finding.claim.text, finding.claim.source, finding.verdict, finding.reason]
                for finding in findings
            ],
        )
    ]
    behind = [
        [finding.claim.id, " ".join(finding.run_ids)] for finding in findings if finding.run_ids
    ]
    if behind:
        grids.append(Grid(("Claim", "Runs"), behind, "Rows behind the verdicts"))
    return Document(
        "claims",
        title,
        intro=[f"{len(findings)} claims: {counts}.", f"Rule. {RULE}"],
        grids=grids,
        notes=evidence.notes,
        records=[
            {
                "id": finding.claim.id,
                "claim": finding.claim.text,
                "source": finding.claim.source,
                "backbone": finding.claim.backbone,
                "task": finding.claim.task,
                "verdict": finding.verdict,
                "because": finding.reason,
                "rule": RULE,
                "run_ids": " ".join(finding.run_ids),
            }
            for finding in findings
        ],
    )


def _expand(entry: Mapping[str, Any], raw: Mapping[str, Any]) -> Iterator[Claim]:
    tasks = entry.get("tasks", [entry.get("task", "")])
    for task, against in product(tasks, entry.get("against", [""])):
        known = raw["tasks"].get(task, {"label": task, "metric": entry.get("metric")})
        group = raw["groups"].get(against, {"label": "", "methods": []})
        identity = "-".join(
            filter(
                None,
                [
                    entry["id"],
                    task if len(tasks) > 1 else "",
                    against if len(entry.get("against", [])) > 1 else "",
                ],
            )
        )
        yield Claim(
            identity,
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
        points = figure_lines(load(entry["figure"]))
        yield from zip(points[entry["left"]], points[entry["right"]], strict=True)
    elif "left" in entry:
        rights = [
            *entry.get("rights", []),
            *([entry["right"]] if "right" in entry else []),
            *({"method": method} for method in methods),
        ]
        for right in rights:
            yield named_line(entry["left"]), named_line(right)
