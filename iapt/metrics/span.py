"""Answer spans: SQuAD v1.1 exact match and F1, and their mean (Appendix C.7, "f1-em").

The rules are those of the official SQuAD v1.1 evaluation script, which the ReCoRD script repeats:
an answer is lower-cased, then loses ASCII punctuation, then the words a, an and the, then extra white
space; exact match compares what is left, F1 compares the bags of words. Each prediction is scored
against all its references and keeps the best score, for exact match and for F1 separately.

Two details of the official script are easy to get wrong: punctuation is deleted, not replaced by a
space ("U.S." becomes "us"), and two answers that are both empty after normalisation match exactly
but have an F1 of 0, because they share no word (SQuAD v2.0 changed that).
"""

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from iapt.errors import MetricError
from iapt.metrics.percent import check_aligned, percent

_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")


class SpanScores(NamedTuple):
    """Scores over a data set, each 0-100; `f1_em` is the mean of the other two."""

    exact_match: float
    f1: float
    f1_em: float


def normalise(text: str) -> str:
    """Return the answer as the SQuAD v1.1 script compares it: words only, in lower case."""
    without_punctuation = text.lower().translate(_WITHOUT_PUNCTUATION)
    return " ".join(_ARTICLE.sub(" ", without_punctuation).split())


def exact_match(prediction: str, references: Sequence[str]) -> float:
    """Return 1.0 if the prediction equals any reference after normalisation, else 0.0."""
    predicted = normalise(prediction)
    return float(any(predicted == normalise(reference) for reference in references))


def f1(prediction: str, references: Sequence[str]) -> float:
    """Return the best word-overlap F1 over the references, 0-1."""
    predicted = Counter(normalise(prediction).split())
    return max(
        (_overlap_f1(predicted, Counter(normalise(reference).split())) for reference in references),
        default=0.0,
    )


def span_scores(
    predictions: Sequence[str | None], references: Sequence[Sequence[str]]
) -> SpanScores:
    """Return exact match, F1 and their mean (0-100) over a data set of answer spans.

    Args:
        predictions: one answer per question; None is an unparsable output and scores 0.
        references: the acceptable answers of each question, at least one.

    Raises:
        MetricError: the lengths differ, there is no question, or a question has no reference.
    """
    check_aligned(predictions, references)
    for index, answers in enumerate(references):
        if not answers or isinstance(answers, str):
            raise MetricError(
                f"references[{index}]: got {answers!r}; a question needs a list of one or more "
                "answers. Unlabelled test rows cannot be scored."
            )
    pairs = list(zip(predictions, references, strict=True))
    em = percent([0.0 if answer is None else exact_match(answer, gold) for answer, gold in pairs])
    overlap = percent([0.0 if answer is None else f1(answer, gold) for answer, gold in pairs])
    return SpanScores(exact_match=em, f1=overlap, f1_em=(em + overlap) / 2)


def _overlap_f1(predicted: Counter[str], reference: Counter[str]) -> float:
    shared = (predicted & reference).total()
    if shared == 0:
        return 0.0
    precision = shared / predicted.total()
    recall = shared / reference.total()
    return 2 * precision * recall / (precision + recall)
