"""A task made of one YAML and a folder."""

import json

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from iapt.data.source import Folder, Sample
from iapt.data.template import render
from iapt.errors import ConfigError, DataError
from iapt.tasks.custom import Custom

YAML = """
_target_: iapt.tasks.custom.Custom
_convert_: all
name: capitals
folder: {folder}
template: "Country: {{country}}"
response: {response}
metric: {metric}
split: {{rule: hold_out, rows: 5, test: test}}
max_new_tokens: 8
"""
ROWS = [
    {"country": f"Land {i}", "capital": f"The Town {i}", "towns": [f"Town {i}", "x"]}
    for i in range(20)
]


@pytest.fixture
def folder(tmp_path):
    for split, rows in (("train", ROWS), ("test", ROWS[:4])):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{split}.jsonl").write_text(text, "utf-8")
    return tmp_path


def make(folder, metric="exact-match", response="capital"):
    return instantiate(
        OmegaConf.create(YAML.format(folder=folder, metric=metric, response=response))
    )


def test_a_yaml_and_a_folder_are_enough_whatever_the_data_source(folder):
    task = make(folder)
    sizes = {split: len(task.examples(split, Sample())) for split in ("train", "dev", "test")}
    assert sizes == {"train": 18, "dev": 2, "test": 4}
    example = task.examples("test", Sample())[1]
    assert render(example, task.template, "{query}!").instruction == "Country: Land 1!"
    assert example.response == "The Town 1"
    report = task.split_report(Sample())
    assert (report["source"], report["dev"]["rows"]) == (str(folder), 2)
    changed = task.fingerprint(Sample())
    (folder / "test.jsonl").write_text('{"country": "A", "capital": "B"}\n', "utf-8")
    assert task.fingerprint(Sample()) != changed


@pytest.mark.parametrize(
    ("metric", "output", "value"),
    [
        ("exact-match", "town 1.\nmore", 100.0),  # case, articles, punctuation
        ("exact-match", "town 2", 0.0),
        ("f1-em", "town 2", 25.0),  # F1 one half, no exact match
        ("rouge-l", "the town", 80.0),
        ("number", "it is 1", 100.0),
        ("number", "it is 2", 0.0),
        ("number", "none", 0.0),
    ],
)
def test_each_metric_is_chosen_by_name(metric, output, value, folder):
    task = make(folder, metric)
    example = task.examples("test", Sample())[1]
    scores = task.score([task.parse(output, example)], [example])
    assert scores.value == pytest.approx(value)
    assert scores.metric == metric


def test_of_several_answers_the_nearest_decides_the_rouge_l(folder):
    task = make(folder, "rouge-l", "towns")
    example = task.examples("test", Sample())[1]
    assert [task.score([text], [example]).value for text in ("Town 1", "x", "y")] == [100, 100, 0]


def test_rows_of_another_data_set_than_the_tasks_name_are_found_by_it(folder):
    task = Custom(
        name="capitals",
        dataset=folder.name,
        template="Country: {country}",
        response="capital",
        metric="exact-match",
        split={"rule": "hold_out", "rows": 5, "test": "test"},
        max_new_tokens=8,
    )
    assert len(task.examples("test", Folder(folder.parent))) == 4


def test_a_list_of_answers_counts_each_and_teaches_the_first(folder):
    task = make(folder, response="towns")
    example = task.examples("test", Sample())[1]
    assert example.response == "Town 1"
    assert task.score(["x"], [example]).value == 100.0


@pytest.mark.parametrize("metric", ["exact-match", "f1-em", "rouge-l"])
def test_an_answer_over_two_lines_still_scores_100_when_fed_back(metric, folder):
    task = make(folder, metric)
    example = task.example({"country": "A", "capital": "New\nTown"}, "x/0")
    assert task.score([task.parse(example.response, example)], [example]).value == 100.0


@pytest.mark.parametrize("template", ["{q}", "{page} {q}"])
def test_rows_belong_together_by_a_field_that_the_prompt_may_leave_out(template, tmp_path):
    rows = [{"q": f"why {i}", "r": "a", "page": i // 2, "blank": ""} for i in range(4)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    base = {"name": "a", "response": "r", "metric": "f1-em", "max_new_tokens": 1}
    base |= {"split": {"rule": "official"}, "folder": str(tmp_path), "template": template}
    task = Custom(**base, cluster="page")
    examples = task.examples("train", Sample())
    assert [task.cluster_of(example) for example in examples] == ["0", "0", "1", "1"]
    assert render(examples[0], task.template, "{query}").instruction.endswith("why 0")
    with pytest.raises(DataError, match=r"line 1: .*'pgae' is missing.*Did you mean 'page'"):
        Custom(**base, cluster="pgae").examples("train", Sample())
    with pytest.raises(DataError, match=r"every field of the prompt \(blank\) is empty"):
        Custom(**base | {"template": "{blank}"}, cluster="page").examples("train", Sample())


def test_mistakes_are_named_before_anything_is_read(folder):
    base = {"name": "a", "template": "{q}", "response": "r", "metric": "f1-em", "max_new_tokens": 1}
    base["split"] = {"rule": "official"}
    with pytest.raises(ConfigError, match=r"task.metric='f1'.*Did you mean 'f1-em'"):
        Custom(**{**base, "metric": "f1"})
    with pytest.raises(ConfigError, match=r"contains \{r\}, the field with the answer"):
        Custom(**{**base, "template": "{q} {r}"})
    with pytest.raises(ConfigError, match="is not a plain field name"):
        Custom(**{**base, "template": "{q.upper}"})
    with pytest.raises(DataError, match=r"task.folder=.*nowhere does not exist"):
        make(folder / "nowhere").examples("train", Sample())
    with pytest.raises(DataError, match=r"field 'capitol' is missing.*Did you mean 'capital'"):
        make(folder, response="capitol").examples("train", Sample())
    with pytest.raises(DataError, match=r"field 'country' has no number"):
        Custom(
            **{**base, "template": "{capital}", "response": "country", "metric": "number"}
        ).example({"country": "A", "capital": "B"}, "x/0")
