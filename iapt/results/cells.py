"""From rows to cells: which seeds belong together, and what two cells must share to be comparable.

A cell is one table entry: a task, backbone, method, variant, hparams and data, over seeds 0-4.
The rows of one cell must also agree on everything that can change a score without changing those
names: the config (`setting_hash`, the task's and the method's values), the data and backbone
fingerprints, the beams and lengths of decoding, and the size of the test split.  Rows that differ in
any of these form separate cells, with a message, and are never averaged together.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from operator import attrgetter
from statistics import median

from pydantic import JsonValue

from iapt.configuration.identity import distinctive
from iapt.results.row import Row

SEEDS = (0, 1, 2, 3, 4)  # section 4.3: five random seeds


@dataclass(frozen=True)
class Cell:
    """The rows of one table entry: at most one per declared seed, sorted by seed.

    Attributes:
        setting: First 8 characters of the setting hash.
        basis: Hash of what cells of one task must share to be comparable.
        seeds: The declared seeds.
    """

    task: str
    backbone: str
    method: str
    variant: str
    hparams: str
    data: str
    setting: str
    basis: str
    _: KW_ONLY
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]

    @property
    def name(self) -> str:
        """Method and variant as one name, e.g. ``iapt/iapt_1``."""
        return f"{self.method}/{self.variant}" if self.variant else self.method

    @property
    def label(self) -> str:
        """The full name of the cell, for messages: ``boolq smollm2_135m iapt quick sample``."""
        return f"{self.task} {self.backbone} {self.name} {self.hparams} {self.data}"

    @property
    def metric(self) -> str:
        """The main metric of its rows."""
        return self.rows[0].scores.metric

    @property
    def missing(self) -> tuple[int, ...]:
        """Declared seeds without a row."""
        present = {row.cell.seed for row in self.rows}
        return tuple(seed for seed in self.seeds if seed not in present)

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The ids of its runs."""
        return tuple(row.run_id for row in self.rows)

    @property
    def limits(self) -> dict[str, JsonValue]:
        """The splits limited to their first rows (``limit`` in the config), with their sizes."""
        limit = self.rows[0].setting("limit")
        found = limit if isinstance(limit, dict) else {"split": limit}
        return {split: size for split, size in found.items() if size}

    @property
    def limited(self) -> bool:
        """Whether a split is limited to its first rows."""
        return bool(self.limits)

    @property
    def trained(self) -> float | None:
        """The median number of trained parameters."""
        return self.typical(lambda row: row.params.trained)

    def scores(self, metric: str | None = None) -> dict[int, float]:
        """Return seed -> score, for the main metric or a named one in ``scores.details``."""
        found = {row.cell.seed: row_score(row, metric) for row in self.rows}
        return {seed: score for seed, score in found.items() if score is not None}

    def typical(self, read: Callable[[Row], float | None]) -> float | None:
        """Return the median of a measurement over the rows that have it.

        Args:
            read: Reads the measurement, such as ``lambda row: row.seconds.per_step``.
        """
        numbers = [number for row in self.rows if (number := read(row)) is not None]
        return median(numbers) if numbers else None


def canonical(name: str) -> str:
    """Reduce a name to its letters and digits, so that ``ROUGE-L`` and ``rouge_l`` are one metric."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def count_of(rows: Sequence[Row]) -> str:
    """Format a number of rows: ``1 row``, ``5 rows``."""
    return f"{len(rows)} row{'' if len(rows) == 1 else 's'}"


def collect(rows: Iterable[Row], seeds: Sequence[int] = SEEDS) -> tuple[list[Cell], list[str]]:
    """Group rows into cells.

    Args:
        rows: As `read_rows` returns them.
        seeds: The declared seeds. Rows of other seeds are left out with a message, so that nobody can
            choose seeds after seeing their scores.

    Returns:
        The cells, sorted by name, and a message for every duplicate seed (the newest row counts),
        undeclared seed, and table entry with several settings.
    """
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        c = row.cell
        basis = _digest([row.setting_hash, row.setting("task"), _shared(row)])
        # The seeds of one cell also share the method's values and learning rates.
        values = {group: row.setting(group) for group in ("method", "hparams")}
        own = _digest([row.cell_hash, distinctive(values)])
        names = (c.task, c.backbone, c.method, c.variant, c.hparams, c.data, row.setting_hash[:8])
        key = (*names, basis, own)
        groups[key].append(row)
    cells: list[Cell] = []
    messages: list[str] = []
    for (*described, _), members in sorted(groups.items()):
        by_seed: dict[int, list[Row]] = defaultdict(list)
        for row in sorted(members, key=attrgetter("created")):
            by_seed[row.cell.seed].append(row)
        kept = tuple(by_seed[seed][-1] for seed in sorted(by_seed) if seed in seeds)
        cell = Cell(*described, seeds=tuple(seeds), rows=kept)
        messages += [
            f"{cell.label}: seed {seed} has {len(same)} rows; the newest counts ({same[-1].path})"
            for seed, same in sorted(by_seed.items())
            if len(same) > 1
        ]
        extra = sorted(set(by_seed) - set(seeds))
        if extra:
            messages.append(
                f"{cell.label}: seed {', '.join(map(str, extra))} left out; the declared seeds are "
                f"{', '.join(map(str, seeds))}"
            )
        if cell.rows:
            cells.append(cell)
    return cells, messages + _several_settings(cells)


def row_score(row: Row, metric: str | None = None) -> float | None:
    """Return a row's main score, or a named one in ``scores.details``."""
    scores = row.scores
    if metric is None or canonical(scores.metric) == canonical(metric):
        return scores.value
    named = (
        value for name, value in scores.details.items() if canonical(name) == canonical(metric)
    )
    return next(named, None)


def reference(cell: Cell, cells: Iterable[Cell], method: str) -> Cell | None:
    """Find the reference method's cell that is comparable with a cell, if there is one.

    Args:
        cell: The cell.
        cells: Where to look.
        method: The reference method, which has no reference itself.
    """
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


def differences(rows: Sequence[Row], most: int = 4) -> list[str]:
    """Describe how each row differs from the others, by its values of the keys that differ.

    Args:
        rows: One row from each cell with the same names.
        most: How many keys to list at most.
    """
    flat = [_facts(row) for row in rows]
    keys = sorted({key for facts in flat for key in facts})
    differing = [key for key in keys if len({facts.get(key) for facts in flat}) > 1]
    shown = [[f"{key}={facts.get(key, 'unset')}" for key in differing[:most]] for facts in flat]
    rest = [f"and {len(differing) - most} more"] if len(differing) > most else []
    return [", ".join(texts + rest) or "only their hashes differ" for texts in shown]


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


def _shared(row: Row) -> dict[str, object]:
    """Return what the rows of all methods on one task must share besides the config."""
    return {
        "data.fingerprint": row.data.fingerprint,
        "data.task_version": row.data.task_version,
        "backbone.fingerprint": row.backbone.fingerprint,
        "backbone.dtype": row.backbone.dtype,
        "decoding.num_beams": row.decoding.num_beams,
        "decoding.max_new_tokens": row.decoding.max_new_tokens,
        "scores.n": row.scores.n,
        "scores.metric": row.scores.metric,
    }


def _facts(row: Row) -> dict[str, str]:
    """Return every setting of a row by its dotted name, and the values of `_shared`."""
    facts = {key: str(value) for key, value in _shared(row).items() if value is not None}
    pending: list[tuple[str, JsonValue]] = list(row.config.items())
    while pending:
        name, value = pending.pop()
        if isinstance(value, Mapping):
            pending += [(f"{name}.{key}", item) for key, item in value.items()]
        elif name != "seed":  # even the rows of one cell differ in it, so it explains nothing
            facts[name] = str(value)
    return facts


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True)  # always ASCII, so any text in a row can be encoded
    return hashlib.sha256(text.encode()).hexdigest()[:16]
