"""Which of the paper's printed accuracies its own test splits cannot give."""

from collections.abc import Sequence

from iapt.reporting.spec import Column, Table
from iapt.results.statistics import attainable


def possible(value: float, column: Column) -> bool:
    """Say whether a value can be an accuracy on one of the column's sizes (True if none is known)."""
    return not column.sizes or any(attainable(value, n, column.digits) for n in column.sizes)


def unattainable_notes(table: Table) -> list[str]:
    """Say for each column which printed values cannot occur on the split as described."""
    notes = []
    for k, column in enumerate(table.columns):
        printed = [
            value
            for block in table.blocks
            for line in block.lines
            if not line.repeats and (value := line.values[k]) is not None
        ]
        wrong = [value for value in printed if not possible(value, column)]
        if wrong:
            sizes = " or ".join(f"{size:,}" for size in column.sizes)
            notes.append(
                f"† {column.label}: {len(wrong)} of the paper's {len(printed)} values cannot be an "
                f"accuracy on a test split of {sizes}, as a median over five seeds would be: "
                f"{', '.join(f'{value:.{column.digits}f}' for value in wrong)}."
                + _one_size(column, printed)
            )
    return notes


def _one_size(column: Column, printed: Sequence[float]) -> str:
    """Where the split's size is uncertain: how many values fit one size, as all would have to."""
    if len(column.sizes) < 2:
        return ""
    fits = [sum(attainable(v, size, column.digits) for v in printed) for size in column.sizes]
    counts = " and ".join(
        f"{fit} fit {size:,}" for fit, size in zip(fits, column.sizes, strict=True)
    )
    return f" All come from one split, yet {counts}."
