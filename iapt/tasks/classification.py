"""SST-2, RTE, QNLI, BoolQ and COPA: answer with one of a few words (Appendix C.1, D).

One class for all five; the YAML says which fields are filled in and which word stands for which
label value. A model answers in text, so the answer is read from the first line: a label alone, or
a label followed by something that is not part of a word ("yes, it is"). "not entailment" is never
read as "entailment", nor the other way round.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from iapt.errors import ConfigError, DataError
from iapt.metrics.accuracy import accuracy
from iapt.tasks.answer import first_line
from iapt.tasks.base import Example, Row, RowTask, Scores, check_lengths, field_text

UNLABELLED = -1


class Classification(RowTask):
    """A task whose answer is one of a closed list of words.

    Args:
        fields: template field -> row field, for all fields of the template.
        labels: the answer words; label value i is answered with `labels[i]`.
        label_field: the row field with the label value.
        **common: see `RowTask`.
    """

    metric = "acc"

    def __init__(
        self,
        *,
        fields: Mapping[str, str],
        labels: Sequence[str],
        label_field: str = "label",
        **common: Any,
    ) -> None:
        super().__init__(fields=fields.keys(), **common)
        words = [label.strip().lower() for label in labels]
        if len(words) < 2 or len(set(words)) != len(words) or not all(words):
            raise ConfigError(
                f"task.labels={list(labels)!r} for {self.name!r}: at least two different words are "
                "needed."
            )
        self.fields = dict(fields)
        self.labels = tuple(labels)
        self.label_field = label_field
        self._by_word = dict(zip(words, self.labels, strict=True))

    def example(self, row: Row, identity: str) -> Example:
        """Turn a row into an example; label -1 gives one without references."""
        value = row.get(self.label_field)
        allowed = range(len(self.labels))
        if (
            isinstance(value, bool)
            or not isinstance(value, int)
            or value not in (UNLABELLED, *allowed)
        ):
            raise DataError(
                f"{identity}: field {self.label_field!r} is {value!r}; allowed are "
                f"0-{len(self.labels) - 1} "
                f"({', '.join(self.labels)}) and -1 (unlabelled)."
            )
        response = "" if value == UNLABELLED else self.labels[value]
        return Example(
            id=identity,
            fields={
                name: field_text(row, column, identity) for name, column in self.fields.items()
            },
            response=response,
            references=(response,) if response else (),
        )

    def parse(self, output: str, example: Example) -> str | None:
        """Return the label that the first line is or begins with, or None."""
        line = first_line(output).lower().replace("_", " ")
        starts = [
            w
            for w in self._by_word
            if line.startswith(w) and not line[len(w) : len(w) + 1].isalnum()
        ]
        return self._by_word[max(starts, key=len)] if starts else None

    def score(self, parsed: Sequence[str | None], examples: Sequence[Example]) -> Scores:
        """Return the accuracy, with each label's recall under `details`."""
        check_lengths(parsed, examples, self.name)
        gold = [example.response for example in examples]
        details = {}
        for label in self.labels:
            of_label = [
                answer for answer, right in zip(parsed, gold, strict=True) if right == label
            ]
            if of_label:
                details[f"recall_{label.replace(' ', '_')}"] = accuracy(
                    of_label, [label] * len(of_label)
                )
        unparsed = sum(answer is None for answer in parsed)
        return Scores(self.metric, accuracy(parsed, gold), len(examples), unparsed, details)
