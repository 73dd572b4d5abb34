"""Alpaca and MT-Bench."""

import json
import shutil

import pytest

from iapt.data.source import Folder, Sample
from iapt.errors import ConfigError, DataError


def test_the_input_follows_the_instruction_where_there_is_one(task_of):
    task = task_of("alpaca")
    row = {"instruction": "Sort.", "input": "b a", "output": "a b"}
    assert task.example(row, "x/0").fields["query"] == "Sort.\n\nb a"
    assert task.example({**row, "input": ""}, "x/0").fields["query"] == "Sort."


def test_an_empty_output_is_an_answer_and_not_a_missing_one(task_of):
    row = {"instruction": "Say nothing.", "input": "", "output": ""}
    assert task_of("alpaca").example(row, "x/0").references == ("",)


def test_a_row_without_an_instruction_is_named(task_of):
    row = {"instruction": " ", "input": "some text", "output": "x"}
    with pytest.raises(DataError, match="x/3: field 'instruction' is empty"):
        task_of("alpaca").example(row, "x/3")


def test_alpaca_is_tested_on_the_first_questions_of_mt_bench_with_beam_5(task_of):
    alpaca, mt_bench = task_of("alpaca"), task_of("mt_bench")
    assert alpaca.num_beams == mt_bench.num_beams == 5
    assert alpaca.examples("test", Sample()) == mt_bench.examples("test", Sample())
    assert {e.id.split("/")[0] for e in alpaca.examples("dev", Sample())} == {"alpaca-cleaned"}
    report = alpaca.split_report(Sample())
    assert (report["dev"]["from"], report["test"]["dataset"]) == ("train", "mt_bench")
    assert set(alpaca.releases()) == {"alpaca-cleaned", "mt_bench"}
    prints = [Sample().fingerprint(name) for name in ("alpaca-cleaned", "mt_bench")]
    assert alpaca.fingerprint(Sample()) == "+".join(prints)


def test_the_second_question_comes_with_the_conversation_so_far(task_of):
    task = task_of("alpaca")
    examples = task.examples("test", Sample())[:2]
    second = task.follow_ups(examples, ["  my answer \n", "other"])
    questions = examples[0].meta["questions"]
    assert examples[0].references == (examples[0].meta["answers"][0].strip(),)
    assert second[0].fields["query"] == f"{questions[0]}\n\nmy answer\n\n{questions[1]}"
    assert second[0].id == f"{examples[0].id}/2"
    assert second[0].references == (examples[0].meta["answers"][1],)
    assert [e.meta["turn"] for e in (examples[0], second[0])] == [1, 2]
    assert task.follow_ups(second, ["a", "b"]) == []
    parsed = [task.parse(e.response, e) for e in second]
    assert task.score(parsed, second).value == 100.0


def test_rouge_l_is_told_apart_by_turn(task_of):
    task = task_of("alpaca")
    first = task.examples("test", Sample())[:2]
    second = task.follow_ups(first, ["a", "b"])
    scores = task.score([*(e.response for e in first), None, None], [*first, *second])
    assert scores.value == 50.0
    assert scores.details == {
        **{"rouge_l_turn_1": 100.0, "n_turn_1": 2.0},
        **{"rouge_l_turn_2": 0.0, "n_turn_2": 2.0},
    }
    assert (scores.n, scores.n_unparsed) == (4, 2)
    assert task.score([first[0].response, None, None, None], [*first, *second]).n_unparsed == 3
    dev = task.examples("dev", Sample())[:1]
    assert task.score(["x"], dev).details == {}


def test_alpaca_has_the_test_split_of_its_other_task(task_of):
    assert sorted(task_of("alpaca").splits()) == ["dev", "test", "train"]
    assert task_of("mt_bench").splits() == ["test"]


def test_mt_bench_cannot_be_trained_on_and_says_what_can(task_of):
    with pytest.raises(DataError, match=r"mt_bench has no train split.*task=alpaca"):
        task_of("mt_bench").examples("train", Sample())


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("model_answer_gpt4", {"choices": []}, r"gpt4.jsonl, line 1: needs .*IndexError"),
        (
            "model_answer_gpt4",
            {"choices": [{"index": 0, "turns": ["one"]}]},
            r"gpt4.jsonl, line 1: needs .*two texts are needed",
        ),
        ("test", {"turns": ["one"]}, r"test.jsonl, line 1: .*field 'turns': got \['one'\]"),
        ("test", {"turns": ["one", None]}, "two texts are needed"),
        ("test", {"turns": ["one", " "]}, "two texts are needed, neither empty"),
    ],
)
def test_a_malformed_question_or_answer_is_named_before_anything_is_asked(
    name, changed, message, task_of, tmp_path
):
    folder = tmp_path / "mt_bench"
    shutil.copytree(Sample().path / "mt_bench", folder)
    path = folder / f"{name}.jsonl"
    first, rest = path.read_text("utf-8").split("\n", 1)
    path.write_text(json.dumps({**json.loads(first), **changed}) + "\n" + rest, "utf-8")
    with pytest.raises(DataError, match=message):
        task_of("mt_bench").examples("test", Folder(tmp_path))


def test_one_turn_asks_no_second_question(task_of):
    task = task_of("mt_bench", "turns=1")
    examples = task.examples("test", Sample())
    assert task.follow_ups(examples, ["a"] * len(examples)) == []
    with pytest.raises(Exception, match="MT-Bench has 1 or 2") as caught:
        task_of("mt_bench", "turns=3")
    assert isinstance(caught.value.__cause__ or caught.value, ConfigError)


def test_questions_without_reference_answers_are_an_error(task_of, tmp_path):
    questions = (Sample().path / "mt_bench" / "test.jsonl").read_text("utf-8")
    answers = (Sample().path / "mt_bench" / "model_answer_gpt4.jsonl").read_text("utf-8")
    folder = tmp_path / "mt_bench"
    folder.mkdir()
    (folder / "test.jsonl").write_text(questions, "utf-8")
    with pytest.raises(DataError, match=r"has no model_answer_gpt4.jsonl; it has test"):
        task_of("mt_bench").examples("test", Folder(tmp_path))
    (folder / "model_answer_gpt4.jsonl").write_text(answers.split("\n", 1)[1], "utf-8")
    with pytest.raises(
        DataError, match=r"mt_bench/test/0: model_answer_gpt4 has no answer to .* 81"
    ):
        task_of("mt_bench").examples("test", Folder(tmp_path))


def test_answers_of_one_source_do_not_serve_another(task_of, tmp_path):
    task = task_of("mt_bench")
    assert task.examples("test", Sample())
    folder = tmp_path / "mt_bench"
    shutil.copytree(Sample().path / "mt_bench", folder)
    path = folder / "model_answer_gpt4.jsonl"
    path.write_text(path.read_text("utf-8").split("\n", 1)[1], "utf-8")
    with pytest.raises(DataError, match="model_answer_gpt4 has no answer"):
        task.examples("test", Folder(tmp_path))


def test_the_turns_of_a_conversation_depend_on_each_other_and_alpacas_rows_do_not(task_of):
    task = task_of("alpaca")
    first = task.examples("test", Sample())[:2]
    groups = [task.cluster_of(example) for example in (*first, *task.follow_ups(first, ["a", "b"]))]
    assert groups[:2] == groups[2:]
    assert groups[0] != groups[1]
    assert task.cluster_of(task.examples("dev", Sample())[0]) is None


def test_each_data_set_is_checked_by_the_task_that_reads_it(task_of):
    task = task_of("alpaca")
    found = {name: task.check_sizes(Sample(), name) for name in ("alpaca-cleaned", "mt_bench")}
    assert found["alpaca-cleaned"] == {"train": len(Sample().rows("alpaca-cleaned", "train"))}
    assert found["mt_bench"] == task_of("mt_bench").check_sizes(Sample(), "mt_bench")
