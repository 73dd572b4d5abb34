"""ROUGE-L: hand-worked F-measures, a plain mean, and the two ways to use several references."""

import random

import pytest

from iapt.errors import MetricError
from iapt.metrics import rouge
from iapt.metrics.rouge import rouge_l, rouge_l_percent


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [
        # Longest common subsequence 3 ("police the gunman"); P = 3/4, R = 3/4 (Lin, 2004).
        ("police kill the gunman", "police killed the gunman", 0.75),
        # Subsequence 2 ("the gunman" or "police ... "), same words, other order.
        ("the gunman kill police", "police killed the gunman", 0.5),
        ("a b c d e", "a c e", 0.75),  # P = 3/5, R = 1
        ("Blue Spice, riverside!", "blue spice riverside", 1.0),  # case and punctuation are dropped
        ("kids", "kid", 0.0),  # no stemming
        ("", "a", 0.0),
    ],
)
def test_f_measure_of_one_text(prediction: str, reference: str, expected: float) -> None:
    assert rouge_l(prediction, [reference]) == pytest.approx(expected)


def test_several_references_are_used_only_on_request() -> None:
    predictions, references = ["a b", "x"], [["a c", "a b"], ["x"]]

    assert rouge_l_percent(predictions, references) == pytest.approx(75.0)
    assert rouge_l_percent(predictions, references, multi_reference="max") == pytest.approx(100.0)


def test_mean_is_plain_and_does_not_depend_on_any_random_state() -> None:
    predictions, references = ["a", "b", None], [["a"], ["c"], ["d"]]
    random.seed(0)
    first = rouge_l_percent(predictions, references)
    random.seed(1)

    assert first == rouge_l_percent(predictions, references) == pytest.approx(100 / 3)


def test_scorer_is_built_once() -> None:
    rouge_l("a", ["a"])

    assert rouge._scorer() is rouge._scorer()


def test_unknown_way_of_using_references_is_an_error() -> None:
    with pytest.raises(MetricError, match="'mean'; allowed are 'first' and 'max'"):
        rouge_l_percent(["a"], [["a"]], multi_reference="mean")  # type: ignore[arg-type]


def test_example_without_reference_is_an_error() -> None:
    with pytest.raises(MetricError, match=r"references\[1\]"):
        rouge_l_percent(["a", "b"], [["a"], []])
