"""E2E references."""

import pytest

from iapt.data.source import Folder
from iapt.errors import ConfigError, DataError


class Rows:
    name = "rows"

    def rows(self, dataset, split):
        return [
            {"meaning_representation": "name[A]", "human_reference": "A is a pub."},
            {"meaning_representation": "name[B]", "human_reference": "B is a bar."},
            {"meaning_representation": "name[A]", "human_reference": "Try the old pub called A."},
            {"meaning_representation": "name[A]", "human_reference": "A is a pub."},
        ]


def test_each_row_refers_to_its_own_text_first_and_then_to_the_others_of_its_slots(task_of):
    examples = task_of("e2e").examples("test", Rows())
    assert [e.references for e in examples] == [
        ("A is a pub.", "Try the old pub called A."),
        ("B is a bar.",),
        ("Try the old pub called A.", "A is a pub."),
        ("A is a pub.", "Try the old pub called A."),
    ]


def test_the_choice_of_references_decides_the_value_and_both_are_shown(task_of):
    outputs = ["Try the old pub called A.", "B is a bar.", "A is a pub.", None]
    first, best = task_of("e2e"), task_of("e2e", "multi_reference=max")
    examples = first.examples("test", Rows())
    scores = first.score(outputs, examples)
    assert scores.details["rouge_l_max"] == 75.0
    assert scores.value == scores.details["rouge_l_first"] < 75.0
    assert scores.n_unparsed == 1
    assert best.score(outputs, examples).value == 75.0


def test_an_unknown_choice_is_named(task_of):
    with pytest.raises(Exception, match="must be one of first, max") as caught:
        task_of("e2e", "multi_reference=maxi")
    assert isinstance(caught.value.__cause__ or caught.value, ConfigError)


def test_a_row_without_slots_is_named_by_file_and_line(task_of, tmp_path):
    put = tmp_path / "e2e_nlg" / "train.jsonl"
    put.parent.mkdir()
    put.write_text('{"meaning_representation": "", "human_reference": "text"}\n', "utf-8")
    with pytest.raises(DataError, match=r"train.jsonl, line 1: .*prompt \(ref\) is empty"):
        task_of("e2e").examples("train", Folder(tmp_path))
