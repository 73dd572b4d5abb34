"""The metrics as Hugging Face `evaluate.Metric` objects that work offline and combine with others.

`evaluate.load(...)` fetches a script from the hub at run time; `local_metric("f1_em")` wraps the
pure functions of this package instead. All of these metrics take texts, so that one
`evaluate.combine` can feed several; None stands for an output that could not be parsed, and is
wrong. A reference is a text or a list of texts, of which a metric with one reference takes the
first. A reference of `wikisql` is the JSON text of `{"sql": ..., "table": ...}`. Scores are 0-100.

    evaluate.combine([local_metric("accuracy"), local_metric("rouge_l")]).compute(
        predictions=["yes"], references=["yes"]
    )

`evaluate` takes seconds to import, so it is imported by the first call and not by this module.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from iapt.errors import MetricError, closest
from iapt.metrics.accuracy import accuracy
from iapt.metrics.numeric import numeric_accuracy
from iapt.metrics.percent import percent
from iapt.metrics.rouge import MultiReference, rouge_l_percent
from iapt.metrics.span import span_scores
from iapt.metrics.sql_execution import execution_match

if TYPE_CHECKING:
    import evaluate

_UNPARSED = "\0"  # stands for None, which `evaluate` does not accept as the first prediction
Predictions = Sequence[str | None]
References = Sequence[Sequence[str]]


def _accuracy(predictions: Predictions, references: References) -> dict[str, float]:
    return {"accuracy": accuracy(predictions, [texts[0] for texts in references])}


def _f1_em(predictions: Predictions, references: References) -> dict[str, float]:
    return span_scores(predictions, references)._asdict()


def _rouge_l(
    predictions: Predictions, references: References, multi_reference: MultiReference = "first"
) -> dict[str, float]:
    return {"rouge_l": rouge_l_percent(predictions, references, multi_reference)}


def _gsm8k(predictions: Predictions, references: References) -> dict[str, float]:
    return {"gsm8k_accuracy": numeric_accuracy(predictions, [texts[0] for texts in references])}


def _wikisql(predictions: Predictions, references: References) -> dict[str, float]:
    results = []
    for text, (reference, *_) in zip(predictions, references, strict=True):
        gold = json.loads(reference)
        results.append(execution_match(text, gold["sql"], gold["table"]))
    return {
        "wikisql_accuracy": percent([result.correct for result in results]),
        "wikisql_gold_empty": percent([result.gold_empty for result in results]),
    }


_COMPUTE: Mapping[str, tuple[Callable[..., dict[str, float]], str]] = {
    "accuracy": (_accuracy, "Share of labels equal to their reference (GLUE, SuperGLUE)."),
    "f1_em": (_f1_em, "SQuAD v1.1 exact match, F1 and their mean, best over the references."),
    "rouge_l": (
        _rouge_l,
        "Mean ROUGE-L F-measure; multi_reference='max' keeps the best reference.",
    ),
    "gsm8k": (_gsm8k, "Share of outputs whose final number is the gold one."),
    "wikisql": (_wikisql, "Share of SQL queries that run and obtain the gold query's result."),
}
NAMES = tuple(_COMPUTE)


def _text(prediction: str | None) -> str:
    return _UNPARSED if prediction is None else prediction


def local_metric(name: str) -> "evaluate.Metric":
    """Return one of this package's metrics (`NAMES`) as an `evaluate.Metric`.

    It keeps its inputs in memory, and reaches neither the hub nor the network.

    Raises:
        MetricError: there is no metric of that name.
    """
    if name not in _COMPUTE:
        raise MetricError(
            f"name: got {name!r}; allowed are {', '.join(NAMES)}.{closest(name, NAMES)}"
        )
    import datasets
    import evaluate

    compute, description = _COMPUTE[name]
    text = datasets.Value("string")

    class LocalMetric(evaluate.Metric):
        def _info(self) -> evaluate.MetricInfo:
            return evaluate.MetricInfo(
                description=description,
                citation="",
                inputs_description="predictions: texts; references: a text or a list of texts each",
                features=[
                    datasets.Features({"predictions": text, "references": datasets.List(text)}),
                    datasets.Features({"predictions": text, "references": text}),
                ],
            )

        def add(self, *, prediction: str | None = None, reference: Any = None) -> None:
            """Add one prediction, which may be None, with its reference or references."""
            super().add(prediction=_text(prediction), reference=reference)

        def add_batch(self, *, predictions: Any = None, references: Any = None) -> None:
            """Add predictions, any of which may be None, with their references."""
            super().add_batch(predictions=list(map(_text, predictions)), references=references)

        def _compute(
            self, predictions: Sequence[str], references: Sequence[Any], **options: Any
        ) -> dict[str, float]:
            as_lists = [[item] if isinstance(item, str) else list(item) for item in references]
            for index, texts in enumerate(as_lists):
                if not texts:
                    raise MetricError(
                        f"references[{index}]: got []; {name} needs at least one text for each."
                    )
            parsed = [None if text == _UNPARSED else text for text in predictions]
            return compute(parsed, as_lists, **options)

    LocalMetric.__name__ = name  # `evaluate` names a metric after its class
    return LocalMetric(keep_in_memory=True)
