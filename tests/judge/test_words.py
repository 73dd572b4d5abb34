"""A reply without markup, its words as letters, its numbers as scores."""

import pytest

from iapt.judge.markup import plain
from iapt.judge.words import ONE, TWO, letters, score


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Assistant 1", ONE),
        ("assistant one", ONE),
        ("Response A", ONE),
        ("Model I", ONE),
        ("The first answer", ONE),
        ("the 1st response", ONE),
        ("Assistant #2", TWO),
        ("Assistant two's", TWO),
        ("Model II", TWO),
        ("the 2nd response", TWO),
    ],
)
def test_an_assistants_name_becomes_one_letter(text: str, name: str) -> None:
    assert plain(text) == name


def test_former_and_latter_are_the_assistants_where_a_score_follows() -> None:
    assert plain("the former: 8, the latter: 6") == f"{ONE}: 8, {TWO}: 6"
    assert plain("the former is shorter") == "the former is shorter"


def test_a_list_of_both_assistants_names_each() -> None:
    assert plain("Assistants 1 and 2 tie") == f"{ONE} and {TWO} tie"


def test_hidden_text_leaves_its_lines_behind() -> None:
    assert plain("<think>8/10\n6/10</think>\nb") == "\n\nb"
    assert plain("8/10\n6/10</think>\nb") == "\n\nb"  # where the template gave the first mark
    assert plain("~~8/10~~ 7/10") == " 7/10"


def test_entities_of_html_are_the_letters_that_they_stand_for() -> None:
    assert plain("Score:&nbsp;8&#47;10 &amp; 7&frac12;") == "Score: 8/10 & 7.5"


def test_formulas_lose_their_marks_and_other_text_keeps_its_braces() -> None:
    assert plain("$8$") == " 8 "
    assert plain(r"\frac{8}{10}") == "8/10"
    assert plain("{8}") == "{8}"


def test_quotations_go_unless_they_are_a_score() -> None:
    assert plain('print "ten of 10 points" now') == "print   now"
    assert plain('"8/10"') == "8/10"


@pytest.mark.parametrize(
    ("line", "expected", "value"),
    [
        ("8/10", "t", 8.0),
        ("eight out of ten", "t", 8.0),
        ("[[7.5]]", "t", 7.5),
        ("6", "n", 6.0),
        ("12/10", "t", None),  # no score, and still said to be one
        ("7-8/10", "t", None),
        ("8-8", "t", None),  # of equal numbers none is the higher one of a result
        ("85%", "w", None),  # a confidence or a share; no score out of ten
        ("-1/10", "t", None),
        ("12", "w", None),
        ("2024", "w", None),
        ("clear", "w", None),
        ("score", "v", None),
        ("%", "p", None),
        (".", ".", None),
        (ONE, "1", None),
        (TWO, "2", None),
    ],
)
def test_a_word_or_number_is_one_letter_with_its_value(
    line: str, expected: str, value: float | None
) -> None:
    assert letters(line) == (expected, [value])


def test_the_result_of_a_match_is_no_pair_of_scores() -> None:
    assert letters("beat Brazil 7-1") == ("wwt", [None] * 3)
    assert letters("scores 7-1") == ("vnVn", [None, 7.0, None, 1.0])


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("0", 0.0),
        ("7,5", 7.5),
        ("Ten", 10.0),
        ("eight and a half", 8.5),
        ("10", 10.0),
        ("10.5", None),
        ("11", None),
        ("ten and a half", None),
    ],
)
def test_a_score_is_ten_at_most(number: str, value: float | None) -> None:
    assert score(number) == value
