"""From rows to cells: which seeds belong together, and what two cells must share to be compared.

A cell is one table entry: a task, backbone, method, variant, hparams and data, over seeds 0-4.
Two rows of one cell must also agree on everything that can change a score without changing those
names: the config (`setting_hash`, the task's and the method's own numbers), the data and backbone
fingerprints, the beams and lengths of decoding, the size of the test split. Rows that differ there
are kept apart as separate cells and named, never averaged.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from iapt.reporting.differences import SHARED, count_of, differences
from iapt.reporting.row import Row
from iapt.reporting.stats import (
    Interval,
    SignFlip,
    attainable,
    bootstrap_interval,
    iqm,
    median,
    sign_flip,
)

__all__ = [
    "SEEDS",
    "Cell",
    "Comparison",
    "attainable",
    "bootstrap_interval",
    "canonical",
    "collect",
    "compare",
    "iqm",
    "median",
    "reference",
    "sign_flip",
]

SEEDS = (0, 1, 2, 3, 4)  # section 4.3: five random seeds


@dataclass(frozen=True)
class Cell:
    """The rows of one table entry: at most one per declared seed, in the order of the seeds.

    Attributes:
        setting: First 8 characters of the setting hash, or ``unknown``.
        basis: Digest of what cells of one task must share to be compared.
        seeds: The seeds that should be there.
    """

    task: str
    backbone: str
    method: str
    variant: str
    hparams: str
    data: str
    setting: str
    basis: str
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]

    @property
    def name(self) -> str:
        """Method and variant as one name, e.g. ``iapt/iapt_1``."""
        return f"{self.method}/{self.variant}" if self.variant else self.method

    @property
    def label(self) -> str:
        """The whole cell for a message: ``boolq smollm2_135m iapt quick sample``."""
        return f"{self.task} {self.backbone} {self.name} {self.hparams} {self.data}"

    @property
    def metric(self) -> str:
        """The main metric of its rows."""
        return self.rows[0].metric

    @property
    def missing(self) -> tuple[int, ...]:
        """Declared seeds without a row."""
        present = {row.seed for row in self.rows}
        return tuple(seed for seed in self.seeds if seed not in present)

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The runs behind it."""
        return tuple(row.run_id for row in self.rows)

    @property
    def limited(self) -> bool:
        """Whether a split was cut to its first rows (``limit`` in the config)."""
        limit = self.rows[0].get("config.limit")
        return any(limit.values()) if isinstance(limit, Mapping) else bool(limit)

    def scores(self, metric: str | None = None) -> dict[int, float]:
        """Return seed -> score, of the main metric or of a named one in ``scores.details``."""
        wanted = None if metric is None else canonical(metric)
        found = {}
        for row in self.rows:
            value: float | None = row.value
            if wanted is not None and canonical(row.metric) != wanted:
                details = row.get("scores.details")
                names = details if isinstance(details, Mapping) else {}
                match = next((name for name in names if canonical(name) == wanted), None)
                value = row.number(f"scores.details.{match}") if match else None
            if value is not None:
                found[row.seed] = value
        return found

    def typical(self, dotted: str) -> float | None:
        """Return the median of a number over the rows that have it, e.g. ``seconds.per_step``."""
        numbers = [number for row in self.rows if (number := row.number(dotted)) is not None]
        return median(numbers) if numbers else None


@dataclass(frozen=True)
class Comparison:
    """Two cells over the seeds that both have.

    Attributes:
        difference: Median of the left minus median of the right, in points.
        interval: 95 % bootstrap interval of the IQM of the seed-paired differences.
        test: Exact sign-flip test of those differences.
    """

    seeds: tuple[int, ...]
    difference: float
    interval: Interval | None
    test: SignFlip


def canonical(name: str) -> str:
    """Reduce a spelling to its letters and digits: ``ROUGE-L`` and ``rouge_l`` are one metric."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def collect(rows: Iterable[Row], seeds: Sequence[int] = SEEDS) -> tuple[list[Cell], list[str]]:
    """Group rows into cells.

    Args:
        rows: As `read_rows` gives them.
        seeds: The declared seeds. Rows of other seeds are left out and named, so that nobody can
            choose seeds after having seen their scores.

    Returns:
        The cells, sorted by name, and a message for every duplicate seed (the newest row counts),
        undeclared seed and cell of several settings.
    """
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        names = (row.task, row.backbone, row.method, row.variant, row.hparams, row.data)
        apart = (row.setting_hash, _basis(row), _own(row))
        groups[names + apart].append(row)

    cells: list[Cell] = []
    messages: list[str] = []
    for (task, backbone, method, variant, hparams, data, setting, basis, _), members in sorted(
        groups.items()
    ):
        newest: dict[int, Row] = {}
        cell_rows = sorted(members, key=lambda row: (row.created, str(row.path)))
        newest.update((row.seed, row) for row in cell_rows)
        cell = Cell(
            task,
            backbone,
            method,
            variant,
            hparams,
            data,
            setting[:8] or "unknown",
            basis,
            tuple(seeds),
            tuple(newest[seed] for seed in sorted(newest) if seed in seeds),
        )
        for seed, row in sorted(newest.items()):
            same = sum(other.seed == seed for other in members)
            if same > 1:
                messages.append(
                    f"{cell.label}: seed {seed} has {same} rows; the newest counts ({row.path})"
                )
        extra = sorted(set(newest) - set(seeds))
        if extra:
            messages.append(
                f"{cell.label}: seed {', '.join(map(str, extra))} left out; the declared seeds "
                f"are {', '.join(map(str, seeds))}"
            )
        if cell.rows:
            cells.append(cell)
    return cells, messages + _several_settings(cells)


def compare(left: Cell, right: Cell, metric: str | None = None) -> Comparison | None:
    """Compare two cells of one task seed by seed.

    Returns:
        None where they share no seed or do not share a basis (data, decoding, config).
    """
    if left.task != right.task or left.basis != right.basis:
        return None
    ours, theirs = left.scores(metric), right.scores(metric)
    shared = tuple(sorted(ours.keys() & theirs.keys()))
    paired = [ours[seed] - theirs[seed] for seed in shared]
    test = sign_flip(paired)
    if test is None:
        return None
    difference = median([ours[s] for s in shared]) - median([theirs[s] for s in shared])
    return Comparison(shared, difference, bootstrap_interval([paired]), test)


def reference(cell: Cell, cells: Iterable[Cell], method: str = "lora") -> Cell | None:
    """Find the cell of another method that a cell can be compared with, if there is one."""
    if cell.method == method and not cell.variant:
        return None
    same = [
        other
        for other in cells
        if other.method == method
        and not other.variant
        and other.basis == cell.basis
        and (other.task, other.backbone, other.hparams, other.data)
        == (cell.task, cell.backbone, cell.hparams, cell.data)
    ]
    return max(same, key=lambda other: len(other.rows), default=None)


def _several_settings(cells: Sequence[Cell]) -> list[str]:
    alike: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        alike[cell.label].append(cell)
    messages = []
    for label, members in alike.items():
        if len(members) > 1:
            apart_by = differences([cell.rows[0] for cell in members])
            apart = "; ".join(
                f"setting {cell.setting} ({count_of(cell.rows)}: {difference})"
                for cell, difference in zip(members, apart_by, strict=True)
            )
            messages.append(f"{label}: {len(members)} settings, kept apart: {apart}")
    return messages


def _basis(row: Row) -> str:
    shared = {key: row.get(key) for key in SHARED}
    return _digest([row.setting_hash, row.get("config.task"), shared])


def _own(row: Row) -> str:
    """Digest what the seeds of one cell must share beyond it: the method's numbers and rates."""
    return _digest([row.get(key) for key in ("cell_hash", "config.method", "config.hparams")])


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]
