"""Metrics of `evaluate` behind a task's YAML: ours, a module of the user's, one from the hub."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from iapt.errors import ConfigError, MetricError
from iapt.tasks.custom import Custom
from iapt.tasks.evaluate_metric import EvaluateMetric

evaluate = pytest.importorskip("evaluate")

LENGTHS = """
import datasets
import evaluate

class Lengths(evaluate.Metric):
    def _info(self):
        text = datasets.Value("string")
        features = datasets.Features({"predictions": text, "references": REFERENCES})
        return evaluate.MetricInfo(description="", citation="", features=features)

    def _compute(self, predictions, references, bonus=0.0):
        same = [float(len(p) == len(r if isinstance(r, str) else r[-1])) for p, r in zip(predictions, references)]
        share = sum(same) / len(same)
        return {"share": share + bonus, "each": same, "name": "lengths"}
"""


class Own:
    """What `plugins=` stands for: modules by name."""

    def __init__(self, **files: Path) -> None:
        self.files = files

    def hold(self, target: str) -> bool:
        return target in self.files

    def load(self, module: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(module, self.files[module])
        assert spec is not None
        assert spec.loader is not None
        made = importlib.util.module_from_spec(spec)
        sys.modules[module] = made
        spec.loader.exec_module(made)
        return made


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Own]:
    kinds = {
        "lengths": "text",
        "several": "datasets.List(text)",
        "numbers": 'datasets.Value("int32")',
    }
    for name, references in kinds.items():
        source = LENGTHS.replace("REFERENCES", references)
        if name == "numbers":
            source = source.replace(
                'text = datasets.Value("string")', 'text = datasets.Value("int32")'
            )
        (tmp_path / f"{name}.py").write_text(source)
    (tmp_path / "empty.py").write_text("import evaluate\n")
    (tmp_path / "failing.py").write_text(
        LENGTHS.replace("REFERENCES", "text").replace("share =", "share = 1 / 0 +")
    )
    yield Own(**{path.stem: path for path in tmp_path.glob("*.py")})
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(path.stem, None)


def custom(metric: Any, modules: Own | None = None) -> Custom:
    return Custom(
        name="toy",
        template="{q}",
        response="a",
        metric=metric,
        split={"rule": "official"},
        max_new_tokens=4,
        modules=modules,
    )


def test_a_task_is_scored_by_one_of_our_metrics_through_evaluate() -> None:
    task = custom({"evaluate": "rouge_l", "kwargs": {"multi_reference": "max"}})
    examples = [task.example({"q": "x", "a": ["one two", "one three"]}, f"x/{i}") for i in range(2)]
    parsed = [task.parse(text, examples[0]) for text in (" one three\n", "\n")]
    scores = task.score(parsed, examples)

    assert parsed == ["one three", None]
    assert (scores.metric, scores.value) == ("rouge_l", 50.0)
    assert (scores.n, scores.n_unparsed, scores.details) == (2, 1, {"rouge_l": 50.0})


def test_the_entry_of_a_configuration_is_built_and_scores() -> None:
    from iapt.entries import build_task
    from tests.composed import composed

    config = composed("task=custom_example")["task"] | {"metric": {"evaluate": "rouge_l"}}
    task = build_task(config)
    example = task.example({"text": "Late again", "department": "delivery"}, "x/0")

    assert task.score(["delivery"], [example]).value == 100.0


def test_a_module_of_the_users_scores_texts_with_its_key_scale_and_options(own: Own) -> None:
    entry = {"evaluate": "lengths", "key": "share", "scale": 50, "kwargs": {"bonus": 0.25}}
    metric = EvaluateMetric(entry, own)

    assert metric.name == "lengths-share"
    value, numbers = metric.score(["abc", "abcd"], [["xyz"], ["x"]])
    assert value == pytest.approx(50 * 0.75)
    assert numbers == {
        "share": 0.75,
        "each": 0.5,
    }  # a list is averaged, what is no number is left out


def test_a_metric_among_the_plugins_is_built_and_its_code_is_part_of_what_a_run_is(
    own: Own,
) -> None:
    from iapt.planning import make_plan
    from tests.composed import composed

    config = composed("task=custom_example", "backbone=tiny_llama", "method=bitfit", "device=cpu")
    config["task"]["metric"] = {"evaluate": "lengths", "key": "share", "scale": 100}
    with pytest.raises(ConfigError, match="lengths"):
        make_plan(config)
    config["plugins"] = [str(own.files["lengths"])]
    plan = make_plan(config)
    assert plan.task.metric == "lengths-share"

    own.files["lengths"].write_text(own.files["lengths"].read_text() + "\n# another metric now\n")
    assert make_plan(config).config_hash != plan.config_hash


def test_its_file_is_named_as_well_as_its_module(own: Own) -> None:
    entry = {"evaluate": str(own.files["several"]), "key": "share", "scale": 100}

    # This one takes all references; the other takes the first.
    assert EvaluateMetric(entry, own).score(["abc"], [["x", "xyz"]])[0] == 100.0
    assert (
        EvaluateMetric({**entry, "evaluate": "lengths"}, own).score(["abc"], [["x", "xyz"]])[0]
        == 0.0
    )


def test_a_module_that_plugins_does_not_name_is_never_imported(
    own: Own, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "evil").mkdir()
    (tmp_path / "bad").mkdir()
    for path in (tmp_path / "evil.py", tmp_path / "bad/bad.py"):
        path.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    for name in (
        "evil.py",
        "./evil.py",
        "evil",
        "./evil",
        str(tmp_path / "evil.py"),
        "someone/metric",
    ):
        for modules in (own, None):
            with pytest.raises(
                ConfigError, match=r"name the module in plugins= too.*nothing was imported"
            ):
                custom({"evaluate": name}, modules)
    assert not (tmp_path / "ran").exists()


def test_a_published_metric_comes_from_the_hub(own: Own, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(name: str, **options: Any) -> Any:
        asked.append(name)
        return own.load("lengths").Lengths(**options)

    monkeypatch.setattr(evaluate, "load", load)

    assert (
        EvaluateMetric({"evaluate": "bleu", "key": "share", "scale": 100}, None).name
        == "bleu-share"
    )
    assert asked == ["bleu"]


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (
            ConnectionError("no route"),
            "could not be fetched from the hub \\(ConnectionError\\); it needs",
        ),
        (FileNotFoundError("x"), "could not be fetched.*Did you mean 'rouge_l'"),
        (ImportError("you need to install\n sacrebleu"), "you need to install sacrebleu"),
    ],
)
def test_a_metric_that_cannot_be_had_is_one_clear_line(
    failure: Exception, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(name: str, **options: Any) -> Any:
        raise failure

    monkeypatch.setattr(evaluate, "load", load)
    with pytest.raises(ConfigError, match=said) as caught:
        custom({"evaluate": "rougel"})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({}, "task.metric.evaluate: missing"),
        ({"evaluate": 5}, "task.metric.evaluate=5: must be text that is not empty"),
        (
            {"evaluate": "f1_em", "key": 1},
            "task.metric.key=1: must be text that is not empty or null",
        ),
        ({"evaluate": "f1_em", "kwargs": [1]}, "task.metric.kwargs=.*must be a mapping or null"),
        ({"evaluate": "rouge_l", "keys": "x"}, "Did you mean 'key'"),
        ({"evaluate": "rouge_l", "scale": "100"}, "scale='100': must be a positive number or null"),
        ({"evaluate": "rouge_l", "scale": True}, "scale=True: must be a positive number or null"),
        ({"evaluate": "f1_em"}, "set key: to one of its numbers: exact_match, f1, f1_em"),
        ({"evaluate": "f1_em", "key": "f2"}, "key='f2' is not among.*Did you mean 'f1'"),
        ({"evaluate": "rouge_l", "scale": 2}, "gave 200 with scale 2; must be 0-100"),
        ({"evaluate": "rouge_l", "kwargs": {"nonsense": 1}}, "cannot score .*TypeError"),
        ({"evaluate": "lengths", "key": "share"}, "gives a right answer 1, .* add scale: 100"),
        ({"evaluate": "lengths", "scale": 100}, "set key: to one of its numbers: share, each"),
        ({"evaluate": "numbers", "scale": 100}, "a text task needs a metric of texts"),
        ({"evaluate": "empty", "scale": 100}, "has 0 classes derived from evaluate.Metric"),
        ({"evaluate": "failing", "scale": 100}, "cannot score .*ZeroDivisionError"),
    ],
)
def test_mistakes_are_named_when_the_task_is_built(entry: Any, said: str, own: Own) -> None:
    with pytest.raises(ConfigError, match=said):
        custom(entry, own)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("1.5", r"gave 150 with scale 100; must be 0-100\.$"),
        ("-2.0", r"gave -200 with scale 100; must be 0-100\.$"),
        ("float('nan')", r"gave nan with scale 100; must be 0-100\.$"),
        ("float('inf')", r"gave inf with scale 100; must be 0-100\.$"),
        ("int('a')", r"cannot score \[.*\]: ValueError: invalid literal .* 'a'\.$"),
        ("None", r"key='share' is not among its numbers: each\.$"),
    ],
)
@pytest.mark.parametrize(
    ("when", "at_once"),
    [
        ("'odd' in predictions", False),
        ("'' in predictions", True),
        ("all(s < 1 for s in same[:1])", True),
    ],
)
def test_a_metric_that_fails_on_some_answers_is_told_in_a_line_and_before_a_run_if_they_are_plain(
    value: str, said: str, when: str, at_once: bool, own: Own
) -> None:
    name, entry = "lengths", {"evaluate": "lengths", "key": "share", "scale": 100}
    source = own.files[name].read_text()
    source = source.replace("share + bonus", f"{value} if {when} else share")
    own.files[name].write_text(source)
    if at_once:
        with pytest.raises(ConfigError, match=said):
            EvaluateMetric(entry, own)
        return
    metric = EvaluateMetric(entry, own)
    assert metric.score(["a"], [["b"]])[0] == 100.0
    with pytest.raises(MetricError, match=said):
        metric.score(["odd"], [["b"]])
