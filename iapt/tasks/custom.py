r"""A task of your own from one YAML file and a folder of JSON Lines, without Python.

    _target_: iapt.tasks.custom.Custom
    _convert_: all
    name: tickets
    folder: path/to/rows            # train.jsonl, and optionally validation.jsonl and test.jsonl
    template: "Ticket: {text}\nDepartment:"
    response: department            # the row field with the answer, or a list of acceptable ones
    metric: exact-match
    split: {rule: hold_out, rows: 100, test: test}
    max_new_tokens: 8

Template fields, and that of `cluster`, are row fields. Without `folder`, and with `data=<path>`, the rows come from
`<data>/<dataset>/` like those of any other task.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from iapt.errors import ConfigError, DataError, closest
from iapt.metrics.numeric import final_number
from iapt.metrics.percent import percent
from iapt.metrics.rouge import rouge_l_percent
from iapt.metrics.span import exact_match, span_scores
from iapt.tasks.answer import first_line, one_line, whole_text
from iapt.tasks.base import Example, Row, Scores, Source
from iapt.tasks.evaluate_metric import EvaluateMetric, Modules
from iapt.tasks.fields import template_fields
from iapt.tasks.row_task import RowTask, check_lengths, field_text

METRICS = ("exact-match", "f1-em", "rouge-l", "number")


class Custom(RowTask):
    """Text in, text out, scored by a metric chosen by name.

    Args:
        template: text with `{fields}` of the rows.
        response: the row field with the answer; of a list of texts, each counts as right and the first
            is learnt.
        metric: "exact-match" (first line, ignoring case, punctuation and articles), "f1-em" (the
            SQuAD metric), "rouge-l" (whole text) or "number" (the last number); or an entry for a metric of
            `evaluate`, over the whole text (see `EvaluateMetric`).
        folder: where the rows are, unless the data source is a folder that the user names; None for the data
            source of the run.
        dataset: the folder name below the data source; the task's name by default.
        modules: the user's own modules, which may define the metric; not set in the YAML.
        **common: see `RowTask`.
    """

    def __init__(
        self,
        *,
        name: str,
        template: str,
        response: str,
        metric: str | Mapping[str, Any],
        folder: str | None = None,
        dataset: str | None = None,
        modules: Modules | None = None,
        **common: Any,
    ) -> None:
        super().__init__(name=name, template=template, dataset=dataset or name, **common)
        if isinstance(metric, str) and metric not in METRICS:
            raise ConfigError(
                f"task.metric={metric!r} for {name!r}: must be one of {', '.join(METRICS)}, or "
                f"{{evaluate: <metric>}}.{closest(metric, METRICS)}"
            )
        names = template_fields(template)
        if response in names:
            raise ConfigError(
                f"task.template for {name!r} contains {{{response}}}, the field with the answer "
                "(task.response); the model would only have to copy it."
            )
        self._evaluate = None if isinstance(metric, str) else EvaluateMetric(metric, modules)
        self._rule = metric if isinstance(metric, str) else ""
        self.metric = self._evaluate.name if self._evaluate else self._rule
        self.response = response
        self.folder = folder
        self._fields = tuple(dict.fromkeys([*names, *([self.cluster] if self.cluster else [])]))

    def source(self, source: Source) -> Source:
        """Return the source of the task's own folder, if it has one and the user names no other."""
        return source.at(self.folder) if self.folder else source

    def example(self, row: Row, identity: str) -> Example:
        """Turn a row into an example; an empty answer or list gives one without references."""
        answer = row.get(self.response)
        texts = answer if isinstance(answer, list) else [field_text(row, self.response, identity)]
        clean = one_line if self._rule in ("exact-match", "f1-em") else str.strip
        references = tuple(dict.fromkeys(clean(text) for text in map(str, texts) if text.strip()))
        if self._rule == "number" and any(final_number(text) is None for text in references):
            raise DataError(f"{identity}: field {self.response!r} has no number: {answer!r}.")
        fields = {name: field_text(row, name, identity) for name in self._fields}
        return Example(identity, fields, references[0] if references else "", references)

    def parse(self, output: str, example: Example) -> str | None:
        """Return the text that the metric scores, or None if there is none."""
        if self._rule == "number":
            return final_number(output)
        if self._evaluate or self._rule == "rouge-l":
            return whole_text(output)
        return first_line(output) or None

    def score(self, parsed: Sequence[str | None], examples: Sequence[Example]) -> Scores:
        """Return the chosen metric, the best over an example's references."""
        check_lengths(parsed, examples, self.name)
        gold = [example.references for example in examples]
        pairs = list(zip(parsed, gold, strict=True))
        details: dict[str, float] = {}
        if self._evaluate:
            value, details = self._evaluate.score(parsed, gold)
        elif self._rule == "f1-em":
            spans = span_scores(parsed, gold)
            value, details = spans.f1_em, {"f1": spans.f1, "em": spans.exact_match}
        elif self._rule == "rouge-l":
            value = rouge_l_percent(parsed, gold, "max")
        elif self._rule == "number":
            value = percent([p in [final_number(text) for text in texts] for p, texts in pairs])
        else:
            value = percent([0.0 if p is None else exact_match(p, texts) for p, texts in pairs])
        unparsed = sum(answer is None for answer in parsed)
        return Scores(self.metric, value, len(examples), unparsed, details)
