"""Instruction tuning on Alpaca, tested on MT-Bench (Appendix C.6, C.7).

`Alpaca` trains on alpaca-cleaned with 1,000 rows set aside as dev; its test split is that of an
`MTBench` task. Appendix D has no template for either: the query is the instruction, followed by the
input if there is one.

The judge compares the answers of two runs, so a run ends with its saved answers; what can be scored
here is ROUGE-L against GPT-4's answers (Appendix C.7). MT-Bench asks two questions in a row, and the
second can be asked only after the first has been answered: `follow_ups` makes these examples from the
first answers, with the conversation so far before the question.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from iapt.errors import ConfigError, DataError
from iapt.metrics.rouge import rouge_l_percent
from iapt.tasks.answer import whole_text
from iapt.tasks.base import Example, Row, Scores, Source, Split
from iapt.tasks.row_task import RowTask, check_lengths, field_text


class FreeText(RowTask):
    """A task whose answer is any text, compared with one reference by ROUGE-L."""

    metric = "rouge-l"

    def __init__(self, **common: Any) -> None:
        super().__init__(fields=("query",), **common)

    def parse(self, output: str, example: Example) -> str | None:
        """Return the whole text, or None if it is empty."""
        return whole_text(output)

    def score(self, parsed: Sequence[str | None], examples: Sequence[Example]) -> Scores:
        """Return the mean ROUGE-L."""
        check_lengths(parsed, examples, self.name)
        value = rouge_l_percent(parsed, [example.references for example in examples])
        unparsed = sum(text is None for text in parsed)
        return Scores(self.metric, value, len(examples), unparsed, by_turn(parsed, examples))


def by_turn(parsed: Sequence[str | None], examples: Sequence[Example]) -> dict[str, float]:
    """Return ROUGE-L and the number of answers for each turn of MT-Bench; empty for other data."""
    details: dict[str, float] = {}
    for turn in sorted({e.meta["turn"] for e in examples if "turn" in e.meta}):
        of_turn = [
            (text, e.references)
            for text, e in zip(parsed, examples, strict=True)
            if e.meta.get("turn") == turn
        ]
        texts, references = zip(*of_turn, strict=True)
        details[f"rouge_l_turn_{turn}"] = rouge_l_percent(texts, references)
        details[f"n_turn_{turn}"] = float(len(of_turn))
    return details


class MTBench(FreeText):
    """The 80 questions of MT-Bench with GPT-4's answers as references.

    Args:
        answers: the file with the reference answers, beside the questions.
        turns: 1 for the first question of each pair only, 2 for both.
        **common: see `RowTask`.
    """

    def __init__(
        self, *, answers: str = "model_answer_gpt4", turns: int = 2, **common: Any
    ) -> None:
        super().__init__(**common)
        if turns not in (1, 2):
            raise ConfigError(f"task.turns={turns!r}: MT-Bench has 1 or 2.")
        self.answers = answers
        self.turns = turns
        self._answers: dict[Any, list[str]] = {}

    def examples(self, split: Split, source: Source) -> list[Example]:
        """Return the first questions, each with GPT-4's answer."""
        if self.split_rule.official(split) is None:
            raise DataError(
                f"{self.name} has no {split} split, only questions to test on. task=alpaca trains "
                "on Alpaca and is tested on them."
            )
        source = self.source(source)
        self._official_rows("test", source)  # makes a `Fetching` source fetch the files
        self._answers = {}
        for i, row in enumerate(source.rows(self.dataset, self.answers)):
            try:
                self._answers[row["question_id"]] = two_texts(row["choices"][0]["turns"])
            except (LookupError, TypeError, ValueError) as error:
                raise DataError(
                    f"{source.place(self.dataset, self.answers, i)}: needs question_id and "
                    f"choices[0].turns with two texts ({error!r})."
                ) from error
        return super().examples(split, source)

    def example(self, row: Row, identity: str) -> Example:
        """Turn a row into its first question; `meta` has what the second needs."""
        number = row.get("question_id")
        try:
            questions = two_texts(row.get("turns"))
        except ValueError as error:
            raise DataError(f"{identity}: field 'turns': {error}.") from error
        answers = self._answers.get(number)
        if answers is None:
            raise DataError(f"{identity}: {self.answers} has no answer to question {number!r}.")
        meta = {
            "question_id": number,
            "category": row.get("category"),
            "turn": 1,
            "questions": questions,
            "answers": answers,
        }
        text = answers[0].strip()
        return Example(identity, {"query": questions[0].strip()}, text, (text,), meta)

    def follow_ups(self, examples: Sequence[Example], outputs: Sequence[str]) -> list[Example]:
        """Return the second questions, now that the first have been answered.

        Args:
            examples: first questions, or any examples; those without a second question are left out.
            outputs: the decoded answers to these examples.

        Returns:
            One example per pair, `<id>/2`: first question, the given answer and the second
            question, with a blank line between them.
        """
        made = []
        for example, output in zip(examples, outputs, strict=True):
            if self.turns == 1 or example.meta.get("turn") != 1:
                continue
            first, second = example.meta["questions"]
            text = example.meta["answers"][1].strip()
            query = "\n\n".join((first.strip(), output.strip(), second.strip()))
            meta = {**example.meta, "turn": 2}
            made.append(Example(f"{example.id}/2", {"query": query}, text, (text,), meta))
        return made

    def cluster_of(self, example: Example) -> Hashable:
        """Return the number of the conversation: its turns are not independent."""
        number: Hashable = example.meta["question_id"]
        return number


def two_texts(turns: Any) -> list[str]:
    """Return the texts of MT-Bench's two turns.

    Raises:
        ValueError: the value is not two texts.
    """
    texts = turns if isinstance(turns, list) else []
    if len(texts) != 2 or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ValueError(f"got {turns!r:.80}; two texts are needed, neither empty")
    return texts


class Alpaca(FreeText):
    """Alpaca for training and dev, another task for the test split.

    Args:
        test: the `MTBench` whose test split is used, or its keyword arguments; keys such as
            `_target_` are skipped, since configs/task/mt_bench.yaml is included as it is.
        **common: see `RowTask`.
    """

    def __init__(self, *, test: MTBench | Mapping[str, Any], **common: Any) -> None:
        super().__init__(**common)
        if not isinstance(test, MTBench):
            test = MTBench(**{key: test[key] for key in test if not key.startswith("_")})
        self.test = test

    def example(self, row: Row, identity: str) -> Example:
        """Turn a row into an example; an empty output is an answer like any other."""
        instruction = field_text(row, "instruction", identity)
        given = field_text(row, "input", identity)
        text = field_text(row, "output", identity)
        if not instruction:
            raise DataError(f"{identity}: field 'instruction' is empty.")
        query = f"{instruction}\n\n{given}" if given else instruction
        return Example(identity, {"query": query}, text, (text,))

    def examples(self, split: Split, source: Source) -> list[Example]:
        """Return Alpaca's examples, or the other task's for "test"."""
        if split == "test":
            return self.test.examples(split, source)
        return super().examples(split, source)

    def follow_ups(self, examples: Sequence[Example], outputs: Sequence[str]) -> list[Example]:
        """Return the second questions of MT-Bench; see `MTBench.follow_ups`."""
        return self.test.follow_ups(examples, outputs)

    def cluster_of(self, example: Example) -> Hashable:
        """Return the conversation of a question of MT-Bench; Alpaca's own examples are independent."""
        return self.test.cluster_of(example) if "question_id" in example.meta else None

    def splits(self) -> list[str]:
        """Return the splits of both tasks."""
        return [*super().splits(), *self.test.splits()]

    def fingerprint(self, source: Source) -> str:
        """Return the fingerprints of both data sets."""
        return f"{super().fingerprint(source)}+{self.test.fingerprint(source)}"

    def released_sizes(self) -> dict[Split, int]:
        """Return the released size of each split; the test split's is the other task's."""
        return {**super().released_sizes(), **self.test.released_sizes()}

    def releases(self) -> dict[str, Mapping[str, Any]]:
        """Return the releases of both data sets."""
        return {**super().releases(), **self.test.releases()}

    def check_sizes(self, source: Source, dataset: str) -> dict[str, int]:
        """Return the number of rows in each released split of either data set."""
        if dataset == self.test.dataset:
            return self.test.check_sizes(source, dataset)
        return super().check_sizes(source, dataset)

    def split_report(self, source: Source) -> dict[str, Any]:
        """Describe how each split was made; the other task describes the test split."""
        test = self.test.split_report(source)["test"]
        return {**super().split_report(source), "test": {"dataset": self.test.dataset, **test}}
