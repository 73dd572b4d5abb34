"""What holds for every file in `configs/task/`, over the shipped sample (or the folder IAPT_DATA)."""

import math
import os
from pathlib import Path

import pytest
import yaml

from iapt.data.source import Sample
from iapt.data.template import render
from iapt.errors import DataError
from iapt.evaluation import clusters, item_scores

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
TASKS = sorted(path.stem for path in (ROOT / "configs" / "task").glob("*.yaml"))
TEST_ONLY = {"mt_bench"}
SYSTEM = "<s>[INST] {query}[/INST]"


def system_templates() -> dict[str, str]:
    """Backbone template -> the backbones that have it; random twins are left out."""
    names: dict[str, list[str]] = {}
    for path in sorted((ROOT / "configs" / "backbone").glob("*.yaml")):
        if not path.stem.startswith("tiny"):
            template = yaml.safe_load(path.read_text(encoding="utf-8"))["template"]
            names.setdefault(template, []).append(path.stem)
    return {template: ", ".join(users) for template, users in names.items()}


def test_the_papers_twelve_data_sets_and_an_example_of_ones_own_are_there():
    expected = [
        *("alpaca", "boolq", "copa", "custom_example", "e2e", "gsm8k", "mt_bench", "qnli"),
        *("record", "rte", "squad", "sst2", "wikisql"),
    ]
    assert expected == TASKS


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_gold_responses_score_100_when_fed_back(name, split, task_of, source):
    task = task_of(name)
    if name in TEST_ONLY and split != "test":
        with pytest.raises(DataError, match=f"mt_bench has no {split} split"):
            task.examples(split, source)
        return
    try:
        examples = task.examples(split, source)
    except DataError:
        if source.name == "sample":
            raise
        pytest.skip(f"{source.name} has no {name}/{split}")
    for example in examples:
        rendered = render(example, task.template, SYSTEM)
        assert rendered.response == example.response
        assert all(value in rendered.instruction for value in example.fields.values())
    parsed = [task.parse(example.response, example) for example in examples]
    scores = task.score(parsed, examples)
    assert (scores.value, scores.n, scores.n_unparsed) == (100.0, len(examples), 0)
    assert scores.metric == task.metric


@pytest.mark.parametrize("name", TASKS)
def test_wrong_and_unparsable_answers_score_0_and_the_latter_are_counted(name, task_of):
    task = task_of(name)
    examples = task.examples("test", Sample())
    nonsense = ["", "   \n "] + ["%%%"] * (len(examples) - 2)
    parsed = [task.parse(text, e) for text, e in zip(nonsense, examples, strict=True)]
    scores = task.score(parsed, examples)
    assert scores.value == 0.0
    assert scores.n_unparsed >= 2
    assert all(0.0 <= v <= 100.0 for k, v in scores.details.items() if not k.startswith("n_"))


@pytest.mark.parametrize("name", TASKS)
def test_the_score_of_all_is_the_mean_of_those_of_each(name, task_of):
    task = task_of(name)
    examples = task.examples("test", Sample())
    examples += task.follow_ups(examples, ["An answer."] * len(examples))
    halves = [
        e.response if i % 2 else " ".join(e.response.split()[:3]) for i, e in enumerate(examples)
    ]
    parsed = [task.parse(text, e) for text, e in zip(halves, examples, strict=True)]
    value = task.score(parsed, examples).value
    items = item_scores(task, parsed, examples, value)
    assert len(items) == len(examples)
    assert math.isclose(math.fsum(items) / len(items), value)
    assert set(items[1::2]) == {100.0}


@pytest.mark.parametrize(
    ("name", "shared"),
    [
        *(("boolq", "passage"), ("squad", "context"), ("record", "context")),
        *(("qnli", "sentence1"), ("wikisql", "table_info"), ("e2e", "ref")),
    ],
)
def test_examples_on_one_passage_table_or_meaning_are_one_cluster(name, shared, task_of):
    task = task_of(name)
    examples = task.examples("train", Sample())
    found = clusters(task, examples) or tuple(range(len(examples)))
    texts = [e.fields[shared] for e in examples]
    assert len(set(found)) == len(set(texts)) == len(set(zip(found, texts, strict=True)))


@pytest.mark.parametrize("name", ["mt_bench", "alpaca"])
def test_the_two_turns_of_a_conversation_are_one_cluster(name, task_of):
    task = task_of(name)
    first = task.examples("test", Sample())
    both = first + task.follow_ups(first, ["An answer."] * len(first))
    assert clusters(task, both) == (*range(len(first)), *range(len(first)))


def test_a_cluster_is_a_field_of_the_template(task_of):
    with pytest.raises(Exception, match=r"task\.cluster='pasage' .*Did you mean 'passage'"):
        task_of("boolq", "cluster=pasage")


@pytest.mark.parametrize("name", TASKS)
def test_splits_are_the_same_twice_and_share_no_row(name, task_of):
    first, second = task_of(name), task_of(name)
    seen: set[str] = set()
    for split in ("test",) if name in TEST_ONLY else ("train", "dev", "test"):
        ids = [example.id for example in first.examples(split, Sample())]
        assert ids == [example.id for example in second.examples(split, Sample())]
        assert len(set(ids)) == len(ids)
        assert not seen & set(ids)
        seen |= set(ids)


@pytest.mark.parametrize("name", TASKS)
def test_the_prompt_is_as_recorded_under_every_backbone_template(name, task_of):
    task = task_of(name)
    example = task.examples("test", Sample())[0]
    parts = []
    for template, users in system_templates().items():
        rendered = render(example, task.template, template)
        parts.append(f"### {users}\n{rendered.instruction}‖{rendered.response}\n")
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("IAPT_WRITE_GOLDEN"):
        path.write_text("\n".join(parts), encoding="utf-8")
    assert "\n".join(parts) == path.read_text(encoding="utf-8"), (
        f"{path.name} differs; if the prompt was meant to change, raise the task's version and run "
        "this test once with IAPT_WRITE_GOLDEN=1"
    )


@pytest.mark.parametrize("name", TASKS)
def test_every_yaml_pins_what_it_fetches(name):
    values = yaml.safe_load((ROOT / "configs" / "task" / f"{name}.yaml").read_text("utf-8"))
    release = values.get("release")
    if name == "custom_example":
        assert release is None
    elif release["kind"] == "hub":
        assert len(release["revision"]) == 40
        assert {"id", "config"} < set(release)
    else:
        assert release["base"].startswith("https://raw.githubusercontent.com")
        assert all(len(file["blob"]) == 40 for file in release["files"].values())


def test_the_reader_of_a_task_file_is_told_what_it_is_and_where_in_the_paper():
    for name in TASKS:
        first = (ROOT / "configs" / "task" / f"{name}.yaml").read_text("utf-8").splitlines()[0]
        assert first.startswith("# "), name
        assert "Appendix" in first or name == "custom_example", name
