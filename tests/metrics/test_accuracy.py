"""Label accuracy: plain equality, unparsable counted as wrong, and no score without examples."""

import pytest

from iapt.errors import MetricError
from iapt.metrics.accuracy import accuracy


def test_unparsable_label_is_wrong_and_stays_in_the_denominator() -> None:
    assert accuracy(["yes", None, "no", "no"], ["yes", "no", "yes", "no"]) == 50.0


def test_labels_are_compared_as_they_are() -> None:
    assert accuracy(["Yes", " yes"], ["yes", "yes"]) == 0.0


def test_no_example_is_an_error_and_not_zero() -> None:
    with pytest.raises(MetricError, match="got 0 examples"):
        accuracy([], [])


def test_misaligned_inputs_are_named() -> None:
    with pytest.raises(MetricError, match="got 1, but references has 2"):
        accuracy(["yes"], ["yes", "no"])
