"""GSM8K: solve a word problem step by step (Appendix C.4, D).

    question  Betty has 3 hens that lay 4 eggs each. How many eggs is that?
    answer    That is 3*4=<<3*4=12>>12 eggs.
              #### 12

The model learns the whole worked answer as released, calculator marks included; only the final
number is compared (Appendix C.7).
"""

from collections.abc import Sequence
from typing import Any

from iapt.errors import DataError
from iapt.metrics.numeric import final_number, numeric_accuracy
from iapt.tasks.base import Example, Row, Scores
from iapt.tasks.row_task import RowTask, check_lengths, field_text


class GSM8K(RowTask):
    """Grade school mathematics."""

    metric = "acc"

    def __init__(self, **common: Any) -> None:
        super().__init__(fields=("ref",), **common)

    def example(self, row: Row, identity: str) -> Example:
        """Turn a row into an example whose reference is the final number."""
        answer = field_text(row, "answer", identity)
        number = final_number(answer)
        if number is None:
            raise DataError(
                f"{identity}: field 'answer' does not end in a number: {answer[-60:]!r}."
            )
        return Example(identity, {"ref": field_text(row, "question", identity)}, answer, (number,))

    def parse(self, output: str, example: Example) -> str | None:
        """Return the final number in canonical form, or None if there is none."""
        return final_number(output)

    def score(self, parsed: Sequence[str | None], examples: Sequence[Example]) -> Scores:
        """Return the share of right final numbers."""
        check_lengths(parsed, examples, self.name)
        value = numeric_accuracy(parsed, [example.references[0] for example in examples])
        unparsed = sum(number is None for number in parsed)
        return Scores(self.metric, value, len(examples), unparsed)
