"""Two runs' answers beside the questions that they answered."""

import json
from pathlib import Path
from typing import Any

import pytest

from iapt.data.source import Folder
from iapt.errors import DataError
from iapt.judge.answers import Pair, pair_answers, predictions_of, read_answers
from iapt.tasks.instruction import MTBench

QUESTIONS = {81: ["Write a post.", "Shorter."], 109: ["Where?", "Why?"], 120: ["f(2)?", "f(3)?"]}
GPT4 = {81: ["aloha hawaii", "aloha"], 109: ["west", "sun"], 120: ["four", "nine"]}
TASK = MTBench(
    name="mt_bench",
    dataset="mt_bench",
    template="{query}",
    split={"rule": "official", "train": None, "dev": None, "test": "test"},
    max_new_tokens=8,
)


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path.parent


@pytest.fixture
def examples(tmp_path: Path) -> Any:
    folder = tmp_path / "data/mt_bench"
    write_lines(
        folder / "test.jsonl", [{"question_id": n, "turns": t} for n, t in QUESTIONS.items()]
    )
    answers = [{"question_id": n, "choices": [{"turns": t}]} for n, t in GPT4.items()]
    write_lines(folder / "model_answer_gpt4.jsonl", answers)
    return TASK.examples("test", Folder(tmp_path / "data"))


def a_run(folder: Path, **changed: Any) -> Path:
    """A run's folder with answers a0, b0, a1, b1, ... as `iapt-train` writes them."""
    lines = []
    for row, number in enumerate(QUESTIONS):
        name = f"mt_bench/test/{row}"
        lines.append({"id": name, "output": f"a{row}", "references": [GPT4[number][0]], **changed})
        lines.append({"id": f"{name}/2", "output": f"b{row}", "references": [GPT4[number][1]]})
    return write_lines(folder / "predictions.jsonl", lines)


def test_answers_stand_beside_the_questions_and_gpt4s_answers(
    tmp_path: Path, examples: Any
) -> None:
    runs = a_run(tmp_path / "a"), a_run(tmp_path / "b", output="other")

    assert pair_answers(*runs, TASK, examples, turns=1)[1] == Pair(
        "109", ("Where?",), ("a1",), ("other",), ("west",)
    )
    assert pair_answers(*runs, TASK, examples, turns=2)[2] == Pair(
        "120", ("f(2)?", "f(3)?"), ("a2", "b2"), ("other", "b2"), ("four", "nine")
    )


def test_outputs_may_be_lists_under_the_question_id(tmp_path: Path, examples: Any) -> None:
    lines = [{"id": str(number), "output": turns} for number, turns in GPT4.items()]
    run = write_lines(tmp_path / "a/predictions.jsonl", lines)

    assert list(read_answers(run, TASK, examples, 2).values()) == [tuple(t) for t in GPT4.values()]
    assert list(read_answers(run, TASK, examples, 1).values()) == [(t[0],) for t in GPT4.values()]


def test_a_saved_reference_may_be_a_text(tmp_path: Path, examples: Any) -> None:
    line = {"id": "81", "output": "x", "references": " aloha hawaii\n"}
    run = write_lines(tmp_path / "a/predictions.jsonl", [line])

    assert read_answers(run, TASK, examples, 1) == {"mt_bench/test/0": ("x",)}
    run = write_lines(tmp_path / "b/predictions.jsonl", [line | {"references": "west"}])
    with pytest.raises(DataError, match="line 1: the reference saved with '81' is not GPT-4's"):
        read_answers(run, TASK, examples, 1)


def test_runs_on_different_questions_are_not_compared(tmp_path: Path, examples: Any) -> None:
    one = write_lines(tmp_path / "b/predictions.jsonl", [{"id": "mt_bench/test/0", "output": "x"}])

    with pytest.raises(
        DataError, match=r"2 are in only one of them \(first: mt_bench/test/1\)\. Compare runs"
    ):
        pair_answers(a_run(tmp_path / "a"), one, TASK, examples, 1)


def test_answers_to_other_questions_than_these_are_noticed(tmp_path: Path, examples: Any) -> None:
    run = a_run(tmp_path / "a", references=["the answer to something else"])

    with pytest.raises(
        DataError, match="line 1: the reference saved with 'mt_bench/test/0' is not"
    ):
        read_answers(run, TASK, examples, 1)
    run = write_lines(tmp_path / "c/predictions.jsonl", [{"id": "boolq/test/0", "output": "yes"}])
    with pytest.raises(DataError, match="holds no answer to any of the 3 MT-Bench questions"):
        read_answers(run, TASK, examples, 1)


@pytest.mark.parametrize("output", [None, 5, [], ["a", None], {"text": "a"}])
def test_an_output_that_is_no_text_is_named_with_its_line(
    output: Any, tmp_path: Path, examples: Any
) -> None:
    with pytest.raises(DataError, match=r"predictions.jsonl, line 1: field 'output' is"):
        read_answers(a_run(tmp_path / "a", output=output), TASK, examples, 1)


def test_a_question_that_a_run_left_out_hides_none_that_follow(
    tmp_path: Path, examples: Any
) -> None:
    run = write_lines(tmp_path / "a/predictions.jsonl", [{"id": "120", "output": "x"}])

    assert read_answers(run, TASK, examples, 1) == {"mt_bench/test/2": ("x",)}


def test_a_second_turn_is_looked_at_only_where_it_is_wanted(tmp_path: Path, examples: Any) -> None:
    lines = [{"id": "mt_bench/test/0", "output": "a"}, {"id": "mt_bench/test/0/2", "output": None}]
    run = write_lines(tmp_path / "a/predictions.jsonl", lines)

    assert read_answers(run, TASK, examples, 1) == {"mt_bench/test/0": ("a",)}
    with pytest.raises(DataError, match=r"predictions.jsonl, line 2: field 'output' is None"):
        read_answers(run, TASK, examples, 2)


def test_a_missing_second_turn_is_named(tmp_path: Path, examples: Any) -> None:
    lines = [{"id": f"mt_bench/test/{row}", "output": "x"} for row in range(3)]
    run = write_lines(tmp_path / "a/predictions.jsonl", lines)

    assert len(read_answers(run, TASK, examples, 1)) == 3
    with pytest.raises(DataError, match="question 81 has no second turn; use turns=first"):
        read_answers(run, TASK, examples, 2)


def test_a_folder_without_predictions_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"has no predictions.jsonl; give the folder of a finished run"
    ):
        predictions_of(tmp_path)
    with pytest.raises(DataError, match="nowhere is not a folder"):
        predictions_of(tmp_path / "nowhere")
