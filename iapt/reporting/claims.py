"""The paper's claims as data: one per task and group of baselines; `verdicts` judges them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from iapt.reporting.spec import MAIN_BACKBONE, Line, line, load, load_table


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

    @property
    def table(self) -> str:
        """The table or figure that makes the claim, without the section."""
        return self.source.partition(",")[0]


def load_claims(small: bool = False) -> list[Claim]:
    """Expand ``paper/claims.yaml`` into one claim per task and group of baselines.

    Args:
        small: Whether to ask the same on the tasks that stand for the paper's at the small scale, and of a
            figure's points only for those that the small scale has.
    """
    return [claim for entry in load("claims")["claims"] for claim in _expand(entry, small)]


def _expand(entry: Mapping[str, Any], small: bool) -> Iterator[Claim]:
    raw = load("claims")
    own, groups = entry.get("tasks", [entry.get("task", "")]), entry.get("against", [""])
    tasks = [*own, *(entry.get("small_tasks", []) if small else [])]
    for task, against in product(tasks, groups):
        known = raw["tasks"].get(task, {"label": task, "metric": None})
        group = raw["groups"].get(against, {"label": "", "methods": []})
        alone = task in own and len(own) == 1
        parts = [entry["id"], "" if alone else task, against if len(groups) > 1 else ""]
        yield Claim(
            "-".join(filter(None, parts)),
            entry["kind"],
            entry["text"].format(task=known["label"], against=group["label"]),
            entry["source"],
            entry.get("backbone", MAIN_BACKBONE),
            task,
            entry.get("metric", known["metric"]),
            tuple(_pairs(entry, group["methods"], small)),
            entry,
        )


def _pairs(
    entry: Mapping[str, Any], methods: Sequence[str], small: bool
) -> Iterator[tuple[Line, Line]]:
    if "figure" in entry:
        points = {
            block.label: [point for point in block.lines if point.small or not small]
            for block in load_table(entry["figure"]).blocks
        }
        yield from zip(points[entry["left"]], points[entry["right"]], strict=True)
    elif "left" in entry:
        rights = [*entry.get("rights", []), *([entry["right"]] if "right" in entry else [])]
        for right in [*rights, *({"method": method} for method in methods)]:
            yield line(entry["left"]), line(right)
