"""Both orders, averages, Tables 3 and 9."""

import pytest

from iapt.errors import MetricError
from iapt.judge.answers import Pair
from iapt.judge.comparison import (
    Judgement,
    averages,
    choose_case,
    judge_pairs,
    table3_rows,
    table9,
)
from iapt.judge.endpoint import Reply
from iapt.judge.prompt import build_prompt
from iapt.judge.reply import Verdict


def one_turn(number: str, question: str, a: str, b: str, gpt4: str = "") -> Pair:
    return Pair(number, (question,), (a,), (b,), (gpt4,))


PAIRS = [
    one_turn("81", "Write a post.", "Aloha from Hawaii", "No", "Aloha from Hawaii"),
    one_turn(
        "109", "One morning after sunrise, Suresh was standing facing a pole. Where?", "W", "E", "E"
    ),
    one_turn("120", "f(2)?", "4", "0", "4"),
]


def judgement(number: str, order: str, score1: float | None, score2: float | None) -> Judgement:
    return Judgement(number, order, Reply("text"), Verdict("r1", "r2", score1, score2))  # type: ignore[arg-type]


def test_swap_shows_the_answers_in_both_orders_and_gives_scores_back_to_their_systems() -> None:
    prompts = []

    def ask(prompt: str) -> Reply:
        prompts.append(prompt)
        return Reply("Assistant 1: 9\nAssistant 2: 5")  # a judge that loves whoever comes first

    once = list(judge_pairs(PAIRS[:1], ask))
    twice = list(judge_pairs(PAIRS[:1], ask, swap=True))

    assert (averages(once).score_a, averages(once).score_b) == (9, 5)
    fair = averages(twice, swap=True)
    assert (fair.score_a, fair.score_b) == (7, 7)
    assert (fair.wins_a, fair.wins_b) == (0, 0)
    assert prompts[1] == prompts[0] == build_prompt("Write a post.", "Aloha from Hawaii", "No")
    assert prompts[2] == build_prompt("Write a post.", "No", "Aloha from Hawaii")
    assert [(each.id, each.order) for each in twice] == [("81", "ab"), ("81", "ba")]
    assert twice[1].reply == Reply("Assistant 1: 9\nAssistant 2: 5")


def test_unparsed_replies_enter_no_average_and_are_counted() -> None:
    result = averages([judgement("1", "ab", 8, 6), judgement("2", "ab", 9, None)])

    assert (result.score_a, result.score_b, result.n, result.n_unparsed) == (8, 6, 1, 1)


def test_with_swap_a_query_needs_both_replies() -> None:
    replies = [
        judgement("1", "ab", 8, 6),
        judgement("1", "ba", None, None),
        judgement("2", "ab", 4, 2),
        judgement("2", "ba", 2, 6),
    ]

    result = averages(replies, swap=True)

    assert (result.score_a, result.score_b, result.n, result.n_unparsed) == (5, 2, 1, 1)
    assert (result.wins_a, result.wins_b) == (1, 0)


def test_nothing_parsed_gives_no_average_instead_of_zero() -> None:
    assert averages([judgement("1", "ab", None, None)]).score_a is None


def test_missing_order_is_an_error() -> None:
    with pytest.raises(
        MetricError, match=r"query '1' has replies in the orders \['ab'\]; .*\['ab', 'ba'\]"
    ):
        averages([judgement("1", "ab", 8, 6)], swap=True)


def test_table3_has_the_score_and_rouge_l_of_each_system() -> None:
    replies = [judgement(pair.id, "ab", 8, 5) for pair in PAIRS]

    rows = table3_rows(("IAPT", "AdaLoRA"), PAIRS, averages(replies))

    assert [row["name"] for row in rows] == ["IAPT", "AdaLoRA"]
    assert [row["avg_score"] for row in rows] == [8, 5]
    assert [row["rouge_l"] for row in rows] == pytest.approx([200 / 3, 100 / 3])
    assert [row["wins"] for row in rows] == [3, 0]
    assert [(row["n"], row["n_unparsed"]) for row in rows] == [(3, 0), (3, 0)]


def test_rouge_l_of_two_turns_is_that_of_the_answers_without_their_numbers() -> None:
    pairs = [Pair("120", ("f(2)?", "f(3)?"), ("four", "x"), ("zero", "y"), ("four", "nine"))]

    rows = table3_rows(("a", "b"), pairs, averages([judgement("120", "ab", 8, 5)]))

    assert [row["rouge_l"] for row in rows] == [50.0, 0.0]


@pytest.mark.parametrize(
    ("margins", "wanted", "expected"),
    [
        ({"81": (9, 1), "109": (7, 5), "120": (5, 5)}, "", "109"),  # the paper's own query
        ({"81": (9, 1), "109": (7, 5), "120": (5, 5)}, "120", "120"),
        ({"81": (6, 5), "109": (None, None), "120": (1, 9)}, "", "120"),  # the largest margin
    ],
)
def test_case_for_table9(
    margins: dict[str, tuple[float | None, float | None]], wanted: str, expected: str
) -> None:
    replies = [judgement(number, "ab", *scores) for number, scores in margins.items()]

    case, pair = choose_case(PAIRS, replies, wanted)

    assert case.id == pair.id == expected


@pytest.mark.parametrize("wanted", ["", "120"])
def test_a_case_is_shown_as_it_was_judged_with_a_first(wanted: str) -> None:
    replies = [judgement("120", "ba", 9, 1), judgement("120", "ab", 6, 5)]

    assert choose_case(PAIRS, replies, wanted)[0].order == "ab"
    with pytest.raises(MetricError, match="case: got"):
        choose_case(PAIRS, replies[:1], wanted)


def test_a_reply_with_one_score_is_shown_where_there_is_no_better() -> None:
    replies = [judgement("81", "ab", None, None), judgement("120", "ab", 9, None)]

    assert choose_case(PAIRS, replies)[0].id == "81"  # the first of those that are as bad
    assert choose_case(PAIRS, [*replies, judgement("109", "ab", 5, 5)])[0].id == "109"


def test_unknown_case_is_an_error_that_lists_the_first_ids() -> None:
    with pytest.raises(
        MetricError, match=r"'7'; allowed are the ids of the queries \(81, 109, 120, ...\)"
    ):
        choose_case(PAIRS, [judgement("81", "ab", 1, 2)], "7")
    many = [one_turn(str(number), "Q?", "A", "B") for number in range(9)]
    with pytest.raises(MetricError, match=r"\(0, 1, 2, 3, 4, ...\)"):
        choose_case(many, [judgement("8", "ab", 1, 2)], "9")


def test_table9_shows_answers_comments_and_scores_as_quotes() -> None:
    pair = one_turn("5", "Q?", "# not a heading\nsecond line", "B")

    text = table9(judgement("5", "ab", 7.5, None), pair, ("IAPT", "AdaLoRA"))

    assert "> Q?" in text
    assert "## IAPT's response\n\n> # not a heading\n> second line" in text
    assert "**Judge's comments**\n\n> r1" in text
    assert "**Judge's score:** 7.5" in text
    assert text.endswith(
        "## AdaLoRA's response\n\n> B\n\n**Judge's comments**\n\n> r2\n\n"
        "**Judge's score:** not found in the reply\n"
    )


def test_table9_gives_scores_and_comments_back_to_their_systems() -> None:
    swapped = table9(judgement("5", "ba", 3, 9), one_turn("5", "Q?", "A", "B"), ("IAPT", "AdaLoRA"))

    first, second = swapped.split("## AdaLoRA's response")
    assert "> r2" in first
    assert "**Judge's score:** 9" in first
    assert "> r1" in second
    assert "**Judge's score:** 3" in second


def test_table9_quotes_blank_lines_and_nothing_at_all() -> None:
    pair = one_turn("5", "Q?", "one\n\ntwo", "")
    silent = Judgement("5", "ab", Reply(""), Verdict(None, None, 7, 8))

    text = table9(silent, pair, ("IAPT", "AdaLoRA"))

    assert "> one\n>\n> two" in text
    assert "## AdaLoRA's response\n\n>\n\n**Judge's comments**" in text
    assert text.count("**Judge's comments**\n\n> not found in the reply\n") == 2
