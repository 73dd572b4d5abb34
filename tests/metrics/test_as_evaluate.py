"""The metrics as `evaluate.Metric`: offline, equal to the pure functions, and combinable."""

import json
import socket

import pytest

from iapt.errors import MetricError
from iapt.metrics.as_evaluate import NAMES, local_metric

evaluate = pytest.importorskip("evaluate")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a metric opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_text_metrics_combine_into_one_result() -> None:
    combined = evaluate.combine(
        [local_metric(name) for name in ("accuracy", "f1_em", "rouge_l", "gsm8k")]
    )

    scores = combined.compute(predictions=["yes 5", "no 6"], references=["yes 5", "yes 6"])

    assert scores == {
        "accuracy": 50.0,
        "exact_match": 50.0,
        "f1": 75.0,
        "f1_em": 62.5,
        "rouge_l": 75.0,
        "gsm8k_accuracy": 100.0,
    }


def test_a_list_of_references_and_an_option_reach_the_metric() -> None:
    inputs = {"predictions": ["no 6"], "references": [["yes 6", "no 6"]]}

    assert local_metric("rouge_l").compute(**inputs) == {"rouge_l": 50.0}
    assert local_metric("rouge_l").compute(**inputs, multi_reference="max") == {"rouge_l": 100.0}
    assert local_metric("f1_em").compute(**inputs)["exact_match"] == 100.0


def test_examples_can_be_added_one_by_one() -> None:
    metric = local_metric("accuracy")
    metric.add(prediction="a", reference="a")
    metric.add(prediction="b", reference="a")

    assert metric.compute() == {"accuracy": 50.0}


@pytest.mark.parametrize("predictions", [["a", None], [None, "a"]])
def test_unparsed_prediction_is_none_and_wrong_wherever_it_stands(
    predictions: list[str | None],
) -> None:
    both = evaluate.combine([local_metric("accuracy"), local_metric("rouge_l")])
    alone = local_metric("accuracy")
    for prediction in predictions:
        alone.add(prediction=prediction, reference="a")

    assert both.compute(predictions=predictions, references=["a", "a"]) == {
        "accuracy": 50.0,
        "rouge_l": 50.0,
    }
    assert alone.compute() == {"accuracy": 50.0}


@pytest.mark.parametrize("name", NAMES)
def test_an_example_without_a_reference_is_an_error(name: str) -> None:
    with pytest.raises(MetricError, match=r"references\[1\]: got \[\]"):
        local_metric(name).compute(predictions=["a", "b"], references=[["a"], []])


def test_sql_is_scored_by_execution() -> None:
    table = {"header": ["n"], "types": ["text"], "rows": [["A"]]}
    reference = json.dumps({"sql": {"sel": 0, "agg": 0, "conds": []}, "table": table})

    scores = local_metric("wikisql").compute(
        predictions=['SELECT "n" FROM "table"', "DROP TABLE x"], references=[reference, reference]
    )

    assert scores == {"wikisql_accuracy": 50.0, "wikisql_gold_empty": 0.0}


def test_each_metric_carries_its_name() -> None:
    assert [local_metric(name).name for name in NAMES] == list(NAMES)


def test_unknown_name_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(MetricError, match=r"rouge_l.*Did you mean 'rouge_l'"):
        local_metric("rougel")
