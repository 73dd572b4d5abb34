"""Tables of scores: whose rows or columns they are, and which of several scores is the score."""

import pytest

from iapt.judge.score_table import Table, read_table
from iapt.judge.words import plain


def table(*rows: str) -> Table | None:
    return read_table(plain("\n".join(rows)).split("\n"))


@pytest.mark.parametrize(
    "names",
    [
        ("Assistant 1", "Assistant 2"),
        ("1", "2"),
        ("#1", "# 2"),
        ("A", "B"),
        ("The score of Assistant 1", "The score of Assistant 2"),
        ("Review (Assistant 1)", "Review (Assistant 2)"),
    ],
)
def test_assistants_are_known_by_their_names_in_rows_and_in_columns(names: tuple[str, str]) -> None:
    one, two = names
    assert table("| Whose | Score |", "|---|---|", f"| {one} | 8 |", f"| {two} | 6 |") == Table(
        (8, 6)
    )
    assert table(f"| | {one} | {two} |", "|---|---|---|", "| Score | 8 | 6 |") == Table((8, 6))


def test_rows_of_others_are_no_assistants() -> None:
    assert table("| Whose | Score |", "| Ann | 8 |", "| Bob | 6 |") is None
    assert table("| Whose | Score |", "| Assistant 1 | 8 |", "| Assistant 1 and 2 | 6 |") is None
    rows = ("| Assistant 1 | 8 |", "| Assistant 2 | 6 |", "| Assistant 2 | 7 |")
    assert table("| Whose | Score |", *rows) is None


@pytest.mark.parametrize("names", [("1", "2"), ("A", "B")])
def test_a_bare_number_or_letter_is_an_assistant_only_where_scores_are(
    names: tuple[str, str],
) -> None:
    one, two = names
    assert table("| Step | Apples |", "|---|---|", f"| {one} | 8 |", f"| {two} | 6 |") is None
    assert table("| Score for | Value |", "|---|---|", f"| {one} | 8 |", f"| {two} | 6 |") is None


def test_a_table_of_names_needs_no_head() -> None:
    assert table("| Assistant 1 | 8/10 |", "| Assistant 2 | 6/10 |") == Table((8, 6))
    rows = ("| Assistant 1 | 9/10 | score 8/10 |", "| Assistant 2 | 5/10 | score 6/10 |")
    assert table(*rows) == Table(None)  # nothing above the columns calls one of them the score


@pytest.mark.parametrize("word", ["Overall", "final score", "TOTAL"])
def test_of_several_scores_the_final_one_counts_and_is_marked(word: str) -> None:
    head = f"| Assistant | Score | {word} |"
    assert table(head, "| Assistant 1 | 9 | 8 |", "| Assistant 2 | 5 | 6 |") == Table((8, 6), True)


def test_of_several_columns_the_one_called_score_counts() -> None:
    rows = ("| Assistant 1 | 9 | 8 |", "| Assistant 2 | 5 | 6 |")
    border = "|---|---|---|"
    assert table("| Assistant | Style | Rating |", *rows) == Table((8, 6))
    assert table(border, "| Assistant | Style | Score |", border, *rows) == Table((8, 6))
    assert table("| Assistant | Style | Facts |", *rows) == Table(None)
    assert table("| Assistant | Final score | Overall |", *rows) == Table(None, True)


def test_a_score_that_is_none_is_kept_as_unreadable() -> None:
    assert table("| Assistant 1 | 12/10 |", "| Assistant 2 | 6/10 |") == Table((None, 6))


def test_rows_may_be_ragged() -> None:
    rows = ("| Assistant 1 | 8 | fine", "| Assistant 2 | 6")
    assert table("| Whose | Score | Note |", *rows) == Table((8, 6))


def test_nothing_but_borders_is_no_table() -> None:
    assert table("|---|---|", "| :-: |") is None
