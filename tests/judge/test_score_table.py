"""Tables of scores become statements: whose rows or columns they are, and which column is the score."""

import pytest

from iapt.judge.markup import plain
from iapt.judge.reply import read_reply
from iapt.judge.score_table import rewritten
from iapt.judge.words import ONE, TWO

SCORES = f"{ONE}: Score: 8; {TWO}: Score: 6;"


def table(*rows: str) -> str:
    return " ".join(plain("\n".join(rows)).split())


@pytest.mark.parametrize(
    "names",
    [
        ("Assistant 1", "Assistant 2"),
        ("1", "2"),
        ("#1", "# 2"),
        ("A", "B"),
        ("The score of Assistant 1", "The score of Assistant 2"),
    ],
)
def test_assistants_are_known_by_their_names_in_rows_and_in_columns(names: tuple[str, str]) -> None:
    one, two = names
    assert table("| Whose | Score |", "|---|---|", f"| {one} | 8 |", f"| {two} | 6 |") == SCORES
    assert table(f"| | {one} | {two} |", "|---|---|---|", "| Score | 8 | 6 |") == SCORES


def test_two_lines_are_a_table() -> None:
    said = f"{ONE}: score: 8; {TWO}: score: 6;"
    assert table("| Assistant 1 | 8 |", "| Assistant 2 | 6 |") == said
    assert table("| Assistant 1 | Assistant 2 |", "| 8 | 6 |") == said


def test_tables_of_others_say_nothing() -> None:
    assert table("| Whose | Score |", "| Ann | 8 |", "| Bob | 6 |") == ""
    rows = ("| Assistant 1 | 8 |", "| Assistant 2 | 6 |", "| Assistant 2 | 7 |")
    assert table("| Whose | Score |", *rows) == ""


def test_a_bare_number_is_an_assistant_only_where_scores_are() -> None:
    assert table("| Step | Apples |", "|---|---|", "| 1 | 8 |", "| 2 | 6 |") == ""


def test_several_columns_of_scores_keep_their_titles() -> None:
    rows = ("| Assistant 1 | 9 | 8 |", "| Assistant 2 | 5 | 6 |")
    assert table("| Assistant | Score | Overall |", *rows) == (
        f"{ONE}: Score: 9; {ONE}: Overall: 8; {TWO}: Score: 5; {TWO}: Overall: 6;"
    )
    assert table("| Assistant | Style | Panache |", *rows) == (f"{ONE}: Style: 9; {TWO}: Style: 5;")


def test_rows_may_be_ragged_and_keep_their_number_of_lines() -> None:
    rows = ("| Assistant 1 | 8 | fine", "| Assistant 2 | 6")
    assert table("| Whose | Score | Note |", *rows) == SCORES
    text = f"a\n| Whose | Score |\n|---|---|\n| {ONE} | 8 |\n| {TWO} | 6 |\nb"
    assert rewritten(text).count("\n") == text.count("\n")


def test_a_rank_names_no_assistant() -> None:
    text = "| Rank | Assistant | Score |\n|---|---|---|\n| 1 | Assistant 2 | 8 |\n| 2 | Assistant 1 | 6 |"
    verdict = read_reply(text)

    assert (verdict.score1, verdict.score2) == (6, 8)


def test_nothing_but_borders_is_no_table() -> None:
    assert table("|---|---|", "| :-: |") == ""
