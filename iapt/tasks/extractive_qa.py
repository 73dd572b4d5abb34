"""SQuAD v1.1 and ReCoRD: answer a question with a span of the text (Appendix C.1, C.2, D).

The two differ only in form: SQuAD has its answers as `{"text": [...], "answer_start": [...]}`, ReCoRD
as a list of strings, and ReCoRD's question is a sentence with an `@placeholder`. The model learns the
first answer; every answer counts as right, and the best one is taken for exact match and for F1
separately, as in the official scripts. An answer to ReCoRD need not be one of the listed entities;
the official script does not require that either.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from iapt.errors import DataError
from iapt.metrics.span import span_scores
from iapt.tasks.answer import first_line, one_line
from iapt.tasks.base import Example, Row, Scores
from iapt.tasks.row_task import RowTask, check_lengths, field_texts


class ExtractiveQA(RowTask):
    """A task whose answer is a short piece of the given text.

    Args:
        fields: template field -> row field, for all fields of the template.
        answers_field: the row field with the acceptable answers.
        **common: see `RowTask`.
    """

    metric = "f1-em"

    def __init__(
        self, *, fields: Mapping[str, str], answers_field: str = "answers", **common: Any
    ) -> None:
        super().__init__(fields=fields.keys(), **common)
        self.fields = dict(fields)
        self.answers_field = answers_field

    def example(self, row: Row, identity: str) -> Example:
        """Turn a row into an example; a row without answers gives one without references."""
        answers = row.get(self.answers_field)
        texts = answers.get("text") if isinstance(answers, Mapping) else answers
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise DataError(
                f"{identity}: field {self.answers_field!r} is {answers!r}; allowed are a list of "
                'texts, or {"text": [...]} with one.'
            )
        references = tuple(dict.fromkeys(one_line(text) for text in texts if text.strip()))
        fields = field_texts(row, self.fields, identity)
        return Example(identity, fields, references[0] if references else "", references)

    def parse(self, output: str, example: Example) -> str | None:
        """Return the first non-blank line, or None for empty text."""
        return first_line(output) or None

    def score(self, parsed: Sequence[str | None], examples: Sequence[Example]) -> Scores:
        """Return the mean of F1 and exact match, with both under `details`."""
        check_lengths(parsed, examples, self.name)
        scores = span_scores(parsed, [example.references for example in examples])
        unparsed = sum(answer is None for answer in parsed)
        details = {"f1": scores.f1, "em": scores.exact_match}
        return Scores(self.metric, scores.f1_em, len(examples), unparsed, details)
