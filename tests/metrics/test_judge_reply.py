"""Free-text replies of judges: two reviews and two scores, or None, and never a guess."""

import random
import time

import pytest

from iapt.metrics.judge_reply import read_reply

# In the form of the paper's Table 9: reviews that end in their own score, and name each other.
TABLE_9 = """Assistant 1 provides a clear explanation and finds 1 of 4 directions. However, there is \
a contradiction in Assistant 1's response; it states "towards his left".

Score: 7/10 - While Assistant 1 reaches the right conclusion, the reader of 2024 may be confused.

- Assistant 2 starts well but stops earlier than Assistant 1.
Score: 5/10 - Assistant 2 leaves out the final step."""


@pytest.mark.parametrize(
    ("text", "scores"),
    [
        (TABLE_9, (7, 5)),
        ("Assistant 1: 8/10\nAssistant 2: 6/10", (8, 6)),
        ("Assistant 2: 4/10\nAssistant 1: 9/10", (9, 4)),
        ("**Review of Assistant 1:** good.\n**Review of Assistant 2:** shorter than Assistant 1's."
         "\n\n**Scores:**\n- Assistant 1: 8\n- Assistant 2: 6.5", (8, 6.5)),
        ("Review 1: fine\nReview 2: poor\nScore 1: 9\nScore 2: 3", (9, 3)),
        ("(1) Response 1 has 3 examples. Response 2 lists 5 steps.\n"
         "(2) Scores: Response 1: 7, Response 2: 5", (7, 5)),
        ("8 6\nAssistant 1 is better", (8, 6)),
        ("Scores: 7 and 5", (7, 5)),
        ("Scores:\n1. 8/10\n2. 6/10", (8, 6)),
        ("Both responses deserve 7/10.", (7, 7)),
        ("I would give Assistant 1 a score of 8 and Assistant 2 a score of 6.", (8, 6)),
        ("I give 8/10 to Assistant 1 and 6/10 to Assistant 2.", (8, 6)),
        ("I give 8/10 to Assistant 2 and 6/10 to Assistant 1.", (6, 8)),
        ("On a scale of 10, I rate Assistant 1 at 8 and Assistant 2 at 6.", (8, 6)),
        ("Assistant 1's response gets [[8]], assistant 2's gets [[6]]", (8, 6)),
        ("| Assistant | Score |\n|---|---|\n| Assistant 1 | 8 |\n| Assistant 2 | 6 |", (8, 6)),
        ("Score for Assistant 1 (out of 10): 8\nScore for Assistant 2 (out of 10): 6", (8, 6)),
        ("Score (Assistant 1): 9\nScore (Assistant 2): 4", (9, 4)),
        ("Response A: 8/10\nResponse B: 7,5/10", (8, 7.5)),
        ("First assistant: 8 out of 10. Second assistant: 6 out of 10.", (8, 6)),
        ("Review for assistant 1: nice.\nScore: 8/10\n\n"
         "Review for assistant 2: compared with Assistant 1, worse.\nScore: 6/10", (8, 6)),
        ("### Assistant 1\nGood\n**Score: 8/10**\n### Assistant 2\nBad\n**Score: 6/10**\n\n"
         "Overall, Assistant 1's response is better than Assistant 2's.", (8, 6)),
        ('{"assistant 1": {"score": 8}, "assistant 2": {"score": 6}}', (8, 6)),
        ("Assistant 1: 10/10\nAssistant 2: 0/10", (10, 0)),
        ("Assistant 1: first 5/10. On reflection Assistant 1: 7/10. Assistant 2: 6/10", (7, 6)),
    ],
)  # fmt: skip
def test_scores_are_found_in_many_forms(text: str, scores: tuple[float, float]) -> None:
    verdict = read_reply(text)

    assert (verdict.score1, verdict.score2) == scores
    assert verdict.parsed


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
    ],
)
def test_unclear_replies_are_not_guessed(text: str) -> None:
    assert not read_reply(text).parsed


def test_reviews_are_the_sections_of_the_two_assistants() -> None:
    verdict = read_reply(TABLE_9)

    assert verdict.review1 is not None
    assert verdict.review2 is not None
    assert verdict.review1.startswith("Assistant 1 provides")
    assert verdict.review1.endswith("may be confused.")
    assert verdict.review2.startswith("- Assistant 2 starts well")
    assert verdict.review2.endswith("the final step.")


def test_reviews_without_headings_are_cut_after_their_scores() -> None:
    verdict = read_reply("A fine answer.\nScore: 8/10\nToo short.\nScore: 6/10")

    assert verdict.review1 == "A fine answer.\nScore: 8/10"
    assert verdict.review2 == "Too short.\nScore: 6/10"


def test_scores_alone_have_no_reviews() -> None:
    verdict = read_reply("8 6")

    assert (verdict.review1, verdict.review2) == (None, None)


def test_no_reply_raises_or_takes_long() -> None:
    rng = random.Random(3)
    pieces = [
        *("assistant 1", "Assistant 2", "score", "scores", "both", "response", "8/10", "7", "10"),
        *(":", "\n", "(", "[[", "|", "a", "scale of", "/", "9" * 30, " " * 50, "\x01", "\x02"),
    ]
    texts = [" ".join(rng.choices(pieces, k=500)) for _ in range(100)]
    texts += [
        piece * 20_000 for piece in ("8 ", "\n \n", "score ", "(", "assistant 1 ", "1", "both ")
    ]
    for text in texts:
        started = time.perf_counter()
        read_reply(text)
        assert time.perf_counter() - started < 2.0
