"""Free-text replies of judges: two reviews and two scores, or None, and never a guess.

`replies.txt` and `replies_written_apart.txt` hold replies with what a person reads in them:
`=== 8 6 | what is special`, then the text; `none` stands for a score that is not there or not clear.
"""

import random
import time
from pathlib import Path

import pytest

from iapt.judge.reply import MOST_CHARACTERS, read_reply

REPLIES = [
    (*block.split("\n", 1)[0].split(" | "), block.split("\n", 1)[1].rstrip("\n"))
    for name in ("replies.txt", "replies_written_apart.txt")
    for block in Path(__file__).with_name(name).read_text("utf-8").split("=== ")[1:]
]
TABLE_9 = REPLIES[0][2]
# A person sees two scores in these, and the reader does not. It may only become shorter.
UNREAD = (
    "heard again, 68",
    "heard at last, 18",
    "set 3, 47",
    "set 5, 53",
    "set 6, 46",
    "set 6, 47",
)


@pytest.mark.parametrize(
    ("truth", "about", "text"), REPLIES, ids=[about for _, about, _ in REPLIES]
)
def test_a_reply_is_read_as_a_person_reads_it(truth: str, about: str, text: str) -> None:
    one, two = (None if word == "none" else float(word) for word in (truth.split() * 2)[:2])
    verdict = read_reply(text)

    if one is None or two is None or about in UNREAD:
        assert not verdict.parsed
    else:
        assert (verdict.score1, verdict.score2) == (one, two)


def test_nearly_all_replies_with_two_scores_are_read_and_the_rest_is_known() -> None:
    with_scores = [about for truth, about, _ in REPLIES if "none" not in truth]

    assert len(REPLIES) > 1_100
    assert len(UNREAD) < 0.03 * len(with_scores)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I cannot compare these.",
        "Assistant 1: 8/10",
        "Score: 8",
        "Score: 85/100\nScore: 40/100",
        "Assistant 1: 11/10, Assistant 2: 12/10",
        "Assistant 1's answer has 2 errors. Assistant 2's has 1.",
        "Score: 8/10. Score: 7/10. Score: 6/10.",
        "\x01: 8/10 \x02: 7",
        "<html>502 Bad Gateway</html>",
        "The steps are\n1 2\nand\n3 4\nin this order.",  # not the first line and not the last
        "11 6",
        "8 11",
        "Final score 9, Assistant 1: 8/10\nAssistant 2: 6/10",  # 9 and 8 in the first's section
    ],
)
def test_unclear_replies_are_not_guessed(text: str) -> None:
    assert not read_reply(text).parsed


@pytest.mark.parametrize(
    "remark",
    [
        "Assistant 1 covered 7/10 steps. Assistant 2 covered 9/10 steps.",
        "Assistant 1's film has 7/10 on the site. Assistant 2's film has 9/10 on the site.",
    ],
)
def test_numbers_in_passing_do_not_deny_the_scores_above_them(remark: str) -> None:
    verdict = read_reply(f"Assistant 1: 8/10\nAssistant 2: 6/10\n\n{remark}")

    assert (verdict.score1, verdict.score2) == (8, 6)


def test_two_bare_numbers_may_be_as_high_as_ten() -> None:
    assert (read_reply("10 6").score1, read_reply("Well.\n\n6, 10\n").score2) == (10, 10)


def test_reviews_are_the_sections_of_the_two_assistants() -> None:
    verdict = read_reply(TABLE_9)

    assert verdict.review1 is not None
    assert verdict.review2 is not None
    assert verdict.review1.startswith("Assistant 1 provides")
    assert verdict.review1.endswith("may be confused.")
    assert verdict.review2.startswith("- Assistant 2 starts well")
    assert verdict.review2.endswith("the final step.")


def test_a_section_reaches_to_the_next_and_not_to_its_score() -> None:
    verdict = read_reply("Assistant 1: 8/10\nClear.\nAssistant 2: 6/10\nShort.")

    assert verdict.review1 == "Assistant 1: 8/10\nClear."
    assert verdict.review2 == "Assistant 2: 6/10\nShort."


def test_line_ends_of_windows_are_line_ends() -> None:
    assert read_reply(TABLE_9.replace("\n", "\r\n")) == read_reply(TABLE_9)
    assert read_reply("8 6\r\nAssistant 1 wins.").score1 == 8


def test_reviews_without_headings_are_cut_after_their_scores() -> None:
    verdict = read_reply("A fine answer.\nScore: 8/10\nToo short.\nScore: 6/10")

    assert verdict.review1 == "A fine answer.\nScore: 8/10"
    assert verdict.review2 == "Too short.\nScore: 6/10"


def test_scores_alone_have_no_reviews() -> None:
    verdict = read_reply("8 6")

    assert (verdict.review1, verdict.review2) == (None, None)


def test_a_reply_longer_than_any_judge_writes_is_not_read() -> None:
    reply = "Assistant 1: 8/10\nAssistant 2: 6/10"

    assert read_reply(reply + " " * (MOST_CHARACTERS - len(reply))).parsed
    assert not read_reply(reply + " " * MOST_CHARACTERS).parsed


def test_lists_of_scores_under_a_name_are_refused() -> None:
    text = "Assistant 1: scores 8, 6\nAssistant 2: scores 5, 7"

    assert not read_reply(text).parsed


def test_no_reply_raises_or_takes_long() -> None:
    rng = random.Random(3)
    pieces = [
        *("assistant 1", "Assistant 2", "score", "scores", "both", "response", "8/10", "7", "10"),
        *(":", "\n", "(", "[[", "|", "a", "scale of", "/", "9" * 30, " " * 50),
    ]
    texts = [" ".join(rng.choices(pieces, k=500)) for _ in range(100)]
    texts += [
        piece * (MOST_CHARACTERS // len(piece))
        for piece in (
            " ",
            "8 ",
            "\n \n",
            "score ",
            "(",
            "assistant 1 ",
            "1",
            "both ",
            "10 - 3 ",
            "average 1+1+",
        )
    ]
    for text in texts:
        started = time.process_time()
        read_reply(text)
        assert time.process_time() - started < 2.0
