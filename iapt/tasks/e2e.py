"""E2E NLG: write a restaurant review from a list of slots (Appendix C.3, D).

A meaning representation has several reference texts, each in its own row. Every row is one
example with the row's own text as response. The paper does not say whether ROUGE-L is taken against
that text alone or against all references of the meaning representation: `multi_reference` decides,
and the other figure is in `details`.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from iapt.errors import ConfigError, closest
from iapt.metrics.rouge import MultiReference, rouge_l_percent
from iapt.tasks.answer import whole_text
from iapt.tasks.base import Example, Row, Scores, Source, Split
from iapt.tasks.row_task import RowTask, check_lengths, field_text

CHOICES: tuple[MultiReference, ...] = ("first", "max")


class E2E(RowTask):
    """Data to text.

    Args:
        multi_reference: "first" scores against the row's own text, "max" against all texts of the
            same meaning representation in the split, keeping the best.
        **common: see `RowTask`.
    """

    metric = "rouge-l"

    def __init__(self, *, multi_reference: MultiReference = "first", **common: Any) -> None:
        super().__init__(fields=("ref",), **common)
        if multi_reference not in CHOICES:
            raise ConfigError(
                f"task.multi_reference={multi_reference!r}: must be one of {', '.join(CHOICES)}."
                f"{closest(str(multi_reference), CHOICES)}"
            )
        self.multi_reference = multi_reference

    def example(self, row: Row, identity: str) -> Example:
        """Turn a row into an example whose one reference is its own text."""
        text = field_text(row, "human_reference", identity)
        slots = field_text(row, "meaning_representation", identity)
        return Example(identity, {"ref": slots}, text, (text,) if text else ())

    def examples(self, split: Split, source: Source) -> list[Example]:
        """Return the examples; the references of each are its own text and all others for its slots."""
        made = super().examples(split, source)
        texts: dict[str, dict[str, None]] = {}
        for example in made:
            texts.setdefault(example.fields["ref"], {})[example.response] = None
        return [
            replace(e, references=tuple(dict.fromkeys((e.response, *texts[e.fields["ref"]]))))
            for e in made
        ]

    def parse(self, output: str, example: Example) -> str | None:
        """Return the whole text, or None if it is empty."""
        return whole_text(output)

    def score(self, parsed: Sequence[str | None], examples: Sequence[Example]) -> Scores:
        """Return ROUGE-L by the chosen rule, with both rules under `details`."""
        check_lengths(parsed, examples, self.name)
        references = [example.references for example in examples]
        details = {
            f"rouge_l_{choice}": rouge_l_percent(parsed, references, choice) for choice in CHOICES
        }
        unparsed = sum(text is None for text in parsed)
        value = details[f"rouge_l_{self.multi_reference}"]
        return Scores(self.metric, value, len(examples), unparsed, details)
