"""Label accuracy: SST-2, RTE, QNLI, BoolQ, COPA (Appendix C.7, "acc").

GLUE and SuperGLUE score class indices; here both sides are label texts that the task has already
parsed, so they are compared as they are, without normalisation.
"""

from collections.abc import Sequence

from iapt.metrics.percent import check_aligned, percent


def accuracy(parsed: Sequence[str | None], references: Sequence[str]) -> float:
    """Return the share (0-100) of parsed labels that equal their reference.

    Args:
        parsed: one label per example; None is an unparsable output and counts as wrong.
        references: the gold label of each example.

    Raises:
        MetricError: the lengths differ, or there is no example.
    """
    check_aligned(parsed, references)
    return percent([label == gold for label, gold in zip(parsed, references, strict=True)])
