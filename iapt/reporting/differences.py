"""What sets two results apart: the settings in which their rows differ, in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from iapt.reporting.row import Row

# What every method on one task must share, beside the config.
SHARED = (
    "data.fingerprint",
    "backbone.fingerprint",
    "backbone.dtype",
    "decoding.num_beams",
    "decoding.max_new_tokens",
    "scores.n",
    "scores.metric",
)
# Differ between any two runs; saying so would explain nothing.
_PER_RUN = {"seed", "run_id", "out_dir", "output_dir", "run_dir"}


def count_of(rows: Sequence[Row]) -> str:
    """Count rows in words: ``1 row``, ``5 rows``."""
    return f"{len(rows)} row{'' if len(rows) == 1 else 's'}"


def differences(rows: Sequence[Row], most: int = 4) -> list[str]:
    """Say for each row what sets it apart from the others: its values of the keys that differ.

    Args:
        rows: One row of each cell that goes by the same names.
        most: How many keys are spelled out.
    """
    flat = [_flat(row) for row in rows]
    keys = sorted({key for facts in flat for key in facts})
    differing = [key for key in keys if len({facts.get(key) for facts in flat}) > 1]
    shown = [[f"{key}={facts.get(key, 'unset')}" for key in differing[:most]] for facts in flat]
    rest = [f"and {len(differing) - most} more"] if len(differing) > most else []
    return [", ".join(texts + rest) or "only their hashes differ" for texts in shown]


def _flat(row: Row) -> dict[str, str]:
    facts = {key: str(row.get(key)) for key in SHARED if row.get(key) is not None}
    pending: list[tuple[str, Any]] = [("", row.get("config"))]
    while pending:
        prefix, value = pending.pop()
        if isinstance(value, Mapping):
            pending += [(f"{prefix}.{key}".lstrip("."), item) for key, item in value.items()]
        elif prefix and prefix.rsplit(".", 1)[-1] not in _PER_RUN:
            facts[prefix] = str(value)
    return facts
