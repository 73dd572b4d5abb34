"""SQuAD v1.1 and ReCoRD scoring: the official scripts' behaviour, worked out by hand."""

import pytest

from iapt.errors import MetricError
from iapt.metrics.span import exact_match, f1, normalise, span_scores


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Denver Broncos.", "denver broncos"),
        ("U.S.", "us"),  # punctuation is deleted, not replaced by a space
        ("half-time", "halftime"),
        ("A a an the", ""),
        ("theatre Anna", "theatre anna"),  # articles are whole words
        ("  two \t\n words ", "two words"),
        ("the-end", "theend"),  # punctuation goes before articles, so this one is no article
        ("“quoted”", "“quoted”"),  # only ASCII punctuation
        ("one—the—two", "one— —two"),  # an article leaves a space behind
        ("$1,000.50", "100050"),
        ("Ångström", "ångström"),
    ],
)
def test_answers_are_normalised_as_in_the_official_script(text: str, expected: str) -> None:
    assert normalise(text) == expected


@pytest.mark.parametrize(
    ("prediction", "references", "em", "overlap"),
    [
        ("Denver Broncos", ["the Denver Broncos", "Broncos"], 1.0, 1.0),
        ("Santa Clara, California", ["Santa Clara"], 0.0, 0.8),  # P = 2/3, R = 1
        ("in 1066 or so", ["1066", "in 1066"], 0.0, 2 / 3),  # best reference: P = 1/2, R = 1
        ("no no yes", ["no yes yes"], 0.0, 2 / 3),  # a bag of words, not a set: 2 shared of 3 and 3
        (
            "no no yes",
            ["no no"],
            0.0,
            0.8,
        ),  # P = 2/3, R = 1: a word counts as often as both have it
        ("Paris", ["London"], 0.0, 0.0),
        ("the", ["a"], 1.0, 0.0),  # both empty: equal, but v1.1 finds no word in common
        ("", ["x"], 0.0, 0.0),
    ],
)
def test_exact_match_and_f1_take_their_best_reference(
    prediction: str, references: list[str], em: float, overlap: float
) -> None:
    assert exact_match(prediction, references) == em
    assert f1(prediction, references) == pytest.approx(overlap)


def test_exact_match_and_f1_may_come_from_different_references() -> None:
    scores = span_scores(["a b c d"], [["z", "b c d", "b c d e"]])

    assert scores.exact_match == 100.0
    assert scores.f1 == 100.0


def test_f1_em_is_the_mean_of_the_two_means() -> None:
    scores = span_scores(
        ["Santa Clara, California", "Paris", None], [["Santa Clara"], ["Paris"], ["x"]]
    )

    assert scores.exact_match == pytest.approx(100 / 3)
    assert scores.f1 == pytest.approx(60.0)
    assert scores.f1_em == pytest.approx((100 / 3 + 60.0) / 2)


@pytest.mark.parametrize("references", [[[]], ["one text instead of a list"]])
def test_question_without_a_list_of_references_is_an_error(references: list[list[str]]) -> None:
    with pytest.raises(MetricError, match=r"references\[0\]"):
        span_scores(["x"], references)
