"""GSM8K answers."""

import pytest

from iapt.errors import DataError

ROW = {"question": "How many?", "answer": "That is 3*4=<<3*4=12>>12.\n#### 1,012"}


def test_the_whole_solution_is_learnt_and_the_final_number_counts(task_of):
    task = task_of("gsm8k")
    example = task.example(ROW, "gsm8k/train/0")
    assert example.response == ROW["answer"]
    assert example.references == ("1012",)
    outputs = ["#### 1012", "so it is 1,012.0", "#### 12", "no idea"]
    parsed = [task.parse(text, example) for text in outputs]
    scores = task.score(parsed, [example] * 4)
    assert parsed[-1] is None
    assert (scores.value, scores.n_unparsed) == (50.0, 1)


def test_a_solution_without_a_number_is_an_error(task_of):
    with pytest.raises(DataError, match="gsm8k/train/0: field 'answer' does not end in a number"):
        task_of("gsm8k").example({"question": "q", "answer": "none\n####"}, "gsm8k/train/0")
