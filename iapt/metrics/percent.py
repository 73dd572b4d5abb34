"""What all metrics share: a check of lengths, and a plain mean on the 0-100 scale.

Per-example scores stay in 0-1 everywhere in this package; 0-100 appears here and nowhere else.
"""

from collections.abc import Sequence, Sized

from iapt.errors import MetricError


def percent(values: Sequence[float | bool]) -> float:
    """Return 100 times the plain mean of per-example scores, which are in 0-1.

    Raises:
        MetricError: there is no example.
    """
    if not values:
        raise MetricError(
            "values: got 0 examples; a score needs at least one. Check the test split's size."
        )
    return 100.0 * sum(values) / len(values)


def check_aligned(predictions: Sized, references: Sized) -> None:
    """Check that there is exactly one reference, or set of references, per prediction.

    Raises:
        MetricError: there is not.
    """
    if len(predictions) != len(references):
        raise MetricError(
            f"predictions: got {len(predictions)}, but references has {len(references)}; "
            "they must be aligned one to one. Pass None for an output that could not be parsed."
        )
