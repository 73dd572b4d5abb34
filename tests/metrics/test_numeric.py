"""GSM8K final numbers: the data set's own rule, and every notation widened on purpose."""

import pytest

from iapt.errors import MetricError
from iapt.metrics.numeric import final_number, numbers_equal, numeric_accuracy


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # The data set's rule: the first number after ####, without commas.
        ("She has 16 - 3 = <<16-3=13>>13.\n#### 18", "18"),
        ("#### 1,234", "1234"),
        ("#### 1,00,000", "100000"),
        ("#### -5", "-5"),
        ("#### 18 apples, of 20", "18"),
        ("#### 18\n\nQuestion: 2 + 2?\n#### 4", "18"),
        ("so it is 18 ####", None),
        ("so it is 18\n#### eighteen", None),
        # Widened: the same answer in another notation.
        ("####18", "18"),
        ("#### $18", "18"),
        ("#### -$1,018.50", "-1018.5"),
        ("#### $-18", "-18"),
        ("#### \u221218", "-18"),
        ("#### 25%", "25"),
        ("#### 5.", "5"),
        ("#### +5", "5"),
        ("#### 007.500", "7.5"),
        ("#### .5", "0.5"),
        ("#### -0.0", "0"),
        ("#### Step 1: add\n#### 7", "7"),
        # Widened: no marker, so the last number.
        ("The answer is 18.", "18"),
        ("It costs $1,234.50, he said.", "1234.5"),
        ("from 3 to 10-5", "5"),  # a range or a difference, not a sign
        ("5 - 3 = 2", "2"),
        ("it fell to -5", "-5"),
        ("x=-5", "-5"),
        ("1,2,3", "3"),  # a list
        ("in 2009-2010", "2010"),
        (r"\boxed{42}", "42"),
        ("no number at all", None),
        ("", None),
        ("\u0663", None),  # only ASCII digits
    ],
)
def test_final_number(text: str, expected: str | None) -> None:
    assert final_number(text) == expected


def test_numbers_are_equal_as_decimals() -> None:
    assert numbers_equal("18.00", "x #### 18")
    assert numbers_equal("1,000", "1000.0")
    assert not numbers_equal("18.01", "18")
    assert not numbers_equal("0.1000000000000000055", "0.1")  # exact, not as floats
    assert not numbers_equal("nothing", "nothing")


def test_canonical_number_reads_back_as_itself() -> None:
    for text in ["18", "-0.5", "1234567890.125", "0"]:
        assert final_number(text) == text


def test_very_long_numbers_neither_fail_nor_lose_digits() -> None:
    digits = "1" + "0" * 50_000 + "1"

    assert final_number(digits) == digits


def test_accuracy_counts_unparsable_as_wrong() -> None:
    assert (
        numeric_accuracy(["#### 2", None, "none", "3.0"], ["#### 2", "#### 1", "#### 1", "#### 3"])
        == 50.0
    )


def test_gold_without_a_number_is_an_error() -> None:
    with pytest.raises(MetricError, match=r"references\[0\]"):
        numeric_accuracy(["1"], ["none"])


@pytest.mark.parametrize("text", ["##### 16", "So it is 4.\n######16", "#### **3**\n#### 16"])
def test_a_mark_may_have_more_signs_as_in_the_official_rule(text: str) -> None:
    assert final_number(text) == "16"


@pytest.mark.parametrize("text", ["#### **16**", "#### $\\boxed{16}$", "#### x = 16", "### 5 ####"])
def test_what_stands_between_the_mark_and_a_number_is_no_number(text: str) -> None:
    assert final_number(text) is None
