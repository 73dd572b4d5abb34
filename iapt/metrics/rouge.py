"""ROUGE-L F-measure by the `rouge-score` package: E2E (Table 2) and MT-Bench (Table 3).

The paper uses Hugging Face `evaluate`, whose `rouge` wraps the same scorer (`rougeL`, no stemming)
but reports the median of 1000 bootstrap means drawn with NumPy's global generator, which moves by
about 0.05 points from run to run. The plain mean, used here, is what that bootstrap estimates.

With several references, `rouge-score` keeps the best F-measure. The paper does not say whether E2E
is scored against a row's own reference or against all references of its meaning representation, so
the caller chooses (`multi_reference`) and the choice belongs in the result row.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from iapt.errors import MetricError
from iapt.metrics.percent import check_aligned, percent

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer

MultiReference = Literal["first", "max"]


@lru_cache(maxsize=1)
def _scorer() -> "RougeScorer":
    # Imported only when needed: the import pulls in nltk and takes a second.
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=False)


def rouge_l(prediction: str, references: Sequence[str]) -> float:
    """Return the best ROUGE-L F-measure of one text over its references, 0-1."""
    scorer = _scorer()
    return max(
        (scorer.score(reference, prediction)["rougeL"].fmeasure for reference in references),
        default=0.0,
    )


def rouge_l_percent(
    predictions: Sequence[str | None],
    references: Sequence[Sequence[str]],
    multi_reference: MultiReference = "first",
) -> float:
    """Return the mean ROUGE-L F-measure (0-100) over a data set.

    Args:
        predictions: one text per example; None is an unparsable output and scores 0.
        references: the reference texts of each example, its own first.
        multi_reference: "first" scores against the example's own reference only, "max" against
            all of them, keeping the best.

    Raises:
        MetricError: the lengths differ, there is no example, an example has no reference, or
            `multi_reference` is unknown.
    """
    check_aligned(predictions, references)
    if multi_reference not in ("first", "max"):
        raise MetricError(
            f"multi_reference: got {multi_reference!r}; allowed are 'first' and 'max'."
        )
    values = []
    for index, (text, gold) in enumerate(zip(predictions, references, strict=True)):
        if not gold or isinstance(gold, str):
            raise MetricError(
                f"references[{index}]: got {gold!r}; an example needs a list of one or more texts."
            )
        used = gold if multi_reference == "max" else gold[:1]
        values.append(0.0 if text is None else rouge_l(text, used))
    return percent(values)
