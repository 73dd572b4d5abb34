"""SST-2, RTE, QNLI, BoolQ and COPA: answer with one of a few words (Appendix C.1, D).

One class for all five; the YAML says which fields are filled in and which word stands for which
label value. A model answers in text, so the answer is read from the first line, by one rule for all tasks:

1. Case, quotes, brackets, markdown and tags such as `</s>` are ignored, and a hyphen, an underscore and any
   number of spaces count as one space.
2. The line begins with the label, or with "the answer is" and the label, as a whole word. The data set's own
   names for its labels (Table 6: True and False for BoolQ) count as well.
3. It names no other label and offers no choice: "yes or no" and "yes or not" are not answers. Where one label
   is part of another, the longer one counts, so "not entailment" does not name "entailment".
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from iapt.errors import ConfigError, DataError
from iapt.metrics.accuracy import accuracy
from iapt.tasks.answer import first_line
from iapt.tasks.base import Example, Row, Scores
from iapt.tasks.row_task import RowTask, check_lengths, field_texts

UNLABELLED = -1
_MARKUP = re.compile(r"</?\w+>|[\"'`*#>“”‘’«»()\[\]{}]")
_LEAD = re.compile(
    r"(?:(?:so|therefore|thus),? )?(?:(?:the |my )?(?:(?:final|correct|right|best) )?answer(?: is ?:?| ?:) ?)?"
)
_CHOICE = re.compile(r"[,.]? or\b| ?/")


class Classification(RowTask):
    """A task whose answer is one of a closed list of words.

    Args:
        fields: template field -> row field, for all fields of the template.
        labels: the answer words; label value i is answered with `labels[i]`.
        also: further names for each label that count in an answer but are not in prompts or responses.
        label_field: the row field with the label value.
        **common: see `RowTask`.
    """

    metric = "acc"

    def __init__(
        self,
        *,
        fields: Mapping[str, str],
        labels: Sequence[str],
        also: Sequence[Sequence[str]] = (),
        label_field: str = "label",
        **common: Any,
    ) -> None:
        super().__init__(fields=fields.keys(), **common)
        words = [_plain(label) for label in labels]
        if problem := _clash(labels) if len(words) > 1 else "at least two words are needed":
            raise ConfigError(f"task.labels={list(labels)!r} for {self.name!r}: {problem}.")
        if len(also) not in (0, len(words)):
            raise ConfigError(
                f"task.also={[list(names) for names in also]!r} for {self.name!r}: needs a list of names for each of "
                f"the {len(words)} labels."
            )
        pairs = zip(labels, also, strict=False)
        others = {_plain(name): label for label, names in pairs for name in names}
        if problem := _clash([*labels, *(name for names in also for name in names)]):
            raise ConfigError(
                f"task.also={[list(names) for names in also]!r} for {self.name!r}: {problem}."
            )
        self.fields = dict(fields)
        self.labels = tuple(labels)
        self.label_field = label_field
        self._by_word = dict(zip(words, self.labels, strict=True)) | others
        self._label, self._name = _any_of(words), _any_of(self._by_word)

    def example(self, row: Row, identity: str) -> Example:
        """Turn a row into an example; label -1 gives one without references."""
        value = row.get(self.label_field)
        # A test with `in` would accept True and 1.0.
        if type(value) is not int or not UNLABELLED <= value < len(self.labels):
            raise DataError(
                f"{identity}: field {self.label_field!r} is {value!r}; allowed are 0-{len(self.labels) - 1} "
                f"({', '.join(self.labels)}) and -1 (unlabelled)."
            )
        response = "" if value == UNLABELLED else self.labels[value]
        fields = field_texts(row, self.fields, identity)
        return Example(identity, fields, response, (response,) if response else ())

    def parse(self, output: str, example: Example) -> str | None:
        """Return the label that the first line gives by the module's rule, or None."""
        line = _plain(first_line(output))
        lead = _LEAD.match(line)
        start = lead.end() if lead else 0
        for names in (self._label, self._name):
            if found := names.match(line, start):
                named = {self._by_word[name] for name in names.findall(line)}
                return None if len(named) > 1 or _CHOICE.match(line, found.end()) else named.pop()
        return None

    def score(self, parsed: Sequence[str | None], examples: Sequence[Example]) -> Scores:
        """Return the accuracy, with each label's recall under `details`."""
        check_lengths(parsed, examples, self.name)
        gold = [example.response for example in examples]
        details = {}
        for label in self.labels:
            found = [answer for answer, right in zip(parsed, gold, strict=True) if right == label]
            if found:
                recall = accuracy(found, [label] * len(found))
                details[f"recall_{label.replace(' ', '_')}"] = recall
        unparsed = sum(answer is None for answer in parsed)
        return Scores(self.metric, accuracy(parsed, gold), len(examples), unparsed, details)


def _any_of(words: Iterable[str]) -> re.Pattern[str]:
    longest = "|".join(map(re.escape, sorted(words, key=len, reverse=True)))
    return re.compile(rf"(?<!\w)(?:{longest})(?!\w|[.,]\d)")


def _clash(words: Iterable[str]) -> str:
    """Say which words an answer cannot tell apart; empty if it can tell all."""
    seen: dict[str, str] = {}
    for word in words:
        plain = _plain(word)
        if not plain:
            return f"{word!r} has nothing that an answer is searched for; give it a letter or digit"
        if plain in seen:
            return (
                f"{seen[plain]!r} and {word!r} are the same in an answer, where case, hyphens, underscores, quotes "
                "and brackets do not count; rename one"
            )
        seen[plain] = word
    return ""


def _plain(line: str) -> str:
    return " ".join(re.sub(r"[-_]", " ", _MARKUP.sub(" ", line)).lower().split())
