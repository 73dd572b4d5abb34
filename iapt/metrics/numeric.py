"""Final numbers: GSM8K (Appendix C.7, accuracy by "the correctness of the final answers").

The data set's own rule (openai/grade-school-math) reads the first `#### <number>`, drops its
commas and compares text; without one there is no answer. Kept here: what follows the marker is the
answer, and an output with a marker but no number after it has none. Widened here, because the paper
scores the answer and not its notation: the number may have a currency, plus or percent sign, a
typographic minus or a trailing full stop; the answer of an output without a marker is its last
number; and numbers are compared as decimals (`18.00` = `18`).

Not read: fractions (`1/2`), powers of ten (`1e3`), numbers in words.
"""

import re
from collections.abc import Sequence

from iapt.errors import MetricError
from iapt.metrics.percent import check_aligned, percent

_MARKER = re.compile("#{4,}")
_SIGN = "-+\u2212\u2013"  # hyphen, plus, true minus, en dash
_CURRENCY = "$\u20ac\u00a3\u00a5\u20b9"

# After the marker, any run of digits and commas is one number, as in the data set's own rule
# (1,00,000 is one).
_AFTER_MARKER = re.compile(
    rf"(?P<sign>[{_SIGN}])?\s*[{_CURRENCY}]?\s*(?P<inner>[{_SIGN}])?(?P<digits>[0-9][0-9,]*(?:\.[0-9]+)?|\.[0-9]+)"
)
# In running text, a comma joins digits only in groups of three ("1,234") and otherwise separates
# numbers ("1,2,3"); a sign counts only where it cannot mean a subtraction or a range ("10-5").
_IN_TEXT = re.compile(
    rf"(?:(?<![0-9A-Za-z)\]%.])(?P<sign>[{_SIGN}]))?[{_CURRENCY}]?(?:(?<=[{_CURRENCY}])(?P<inner>[{_SIGN}]))?"
    r"(?P<digits>(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|(?<![0-9])\.[0-9]+)"
)


def final_number(text: str) -> str | None:
    """Return the final number of a worked answer in canonical form, or None if there is none.

    Args:
        text: a model output, or a gold answer of the data set (which ends in `#### <number>`).

    Returns:
        A canonical decimal such as "18", "-0.5" or "1234": no commas, no plus, no leading or
        trailing zeros, and no negative zero, so that two canonical texts are equal exactly when
        the numbers are.
    """
    if answers := _MARKER.split(text)[1:]:
        for answer in answers:
            match = _AFTER_MARKER.match(answer.lstrip(" \t"))
            if match:
                return _canonical(match)
        return None
    numbers = list(_IN_TEXT.finditer(text))
    return _canonical(numbers[-1]) if numbers else None


def numbers_equal(left: str, right: str) -> bool:
    """Return whether two texts have the same final number; a text without one equals nothing."""
    number = final_number(left)
    return number is not None and number == final_number(right)


def numeric_accuracy(predictions: Sequence[str | None], references: Sequence[str]) -> float:
    """Return the share (0-100) of outputs whose final number equals the gold one.

    Args:
        predictions: model outputs, or numbers already extracted; None counts as wrong.
        references: gold answers (`... #### 18`), or gold numbers.

    Raises:
        MetricError: the lengths differ, there is no example, or a reference has no number.
    """
    check_aligned(predictions, references)
    for index, reference in enumerate(references):
        if final_number(reference) is None:
            raise MetricError(
                f"references[{index}]: got {reference!r}; a gold answer ends in '#### <number>'."
            )
    return percent(
        [
            text is not None and numbers_equal(text, gold)
            for text, gold in zip(predictions, references, strict=True)
        ]
    )


def _canonical(match: re.Match[str]) -> str:
    # Digits are handled as text: Decimal.normalize would round to 28 digits.
    whole, _, fraction = match["digits"].replace(",", "").partition(".")
    whole, fraction = whole.lstrip("0") or "0", fraction.rstrip("0")
    number = f"{whole}.{fraction}" if fraction else whole
    sign = match["sign"] or match["inner"] or ""
    return f"-{number}" if sign and sign != "+" and number != "0" else number
