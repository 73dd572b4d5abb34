"""SQuAD and ReCoRD answers."""

import pytest

from iapt.errors import DataError

SQUAD = {
    "context": "It was built by Ada Bell, an engineer.",
    "question": "Who built it?",
    "answers": {"text": ["Ada Bell", "Bell", "Ada Bell"], "answer_start": [16, 20, 16]},
}
RECORD = {"passage": "p\n@highlight\nq", "query": "@placeholder left", "answers": ["Bell", "Ada"]}


def test_the_first_answer_is_learnt_and_each_counts_once(task_of):
    example = task_of("squad").example(SQUAD, "squad/validation/0")
    assert example.response == "Ada Bell"
    assert example.references == ("Ada Bell", "Bell")


def test_record_fills_the_passage_and_the_query_in(task_of):
    example = task_of("record").example(RECORD, "record/train/0")
    assert example.fields == {"context": "p\n@highlight\nq", "question": "@placeholder left"}
    assert example.references == ("Bell", "Ada")


def test_the_best_reference_counts_and_f1_and_exact_match_are_averaged(task_of):
    task = task_of("squad")
    example = task.example(SQUAD, "squad/validation/0")
    scores = task.score(["the Bell", "Ada Bell of York"], [example, example])
    assert scores.details["em"] == 50.0
    assert scores.details["f1"] == pytest.approx((100 + 100 * 2 / 3) / 2)
    assert scores.value == pytest.approx((scores.details["em"] + scores.details["f1"]) / 2)


@pytest.mark.parametrize("space", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\r"])
def test_only_a_line_feed_ends_a_line(space, task_of):
    task = task_of("squad")
    answers = {"text": [f"Ada{space}Bell"], "answer_start": [16]}
    example = task.example({**SQUAD, "answers": answers}, "squad/validation/0")
    # The official scripts take these characters for spaces.
    assert example.references == (f"Ada{space}Bell",)
    for output in (f"Ada{space}Bell", "Ada Bell", f" Ada{space}Bell\r\nand more"):
        assert task.score([task.parse(output, example)], [example]).value == 100.0


def test_an_answer_is_the_first_line(task_of):
    task = task_of("squad")
    assert task.parse("\n Ada Bell \nand more", None) == "Ada Bell"
    assert task.parse(" \n", None) is None


def test_an_answer_over_two_lines_still_scores_100_when_fed_back(task_of):
    task = task_of("squad")
    example = task.example({**SQUAD, "answers": {"text": ["Ada\n  Bell", " "]}}, "x/0")
    assert example.references == ("Ada Bell",)
    assert task.score([task.parse(example.response, example)], [example]).value == 100.0


def test_rows_without_answers_are_unlabelled_and_malformed_ones_an_error(task_of):
    task = task_of("record")
    assert task.example({**RECORD, "answers": []}, "record/test/0").references == ()
    for answers in (None, "Bell", {"texts": ["Bell"]}, [1]):
        with pytest.raises(DataError, match="record/train/0: field 'answers' is"):
            task.example({**RECORD, "answers": answers}, "record/train/0")
