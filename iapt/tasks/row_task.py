"""Tasks over the rows of one data set, split by a rule of Appendix C."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any

from iapt.configuration.checking import Count, checked
from iapt.errors import ConfigError, DataError, closest
from iapt.tasks.base import SPLITS, Example, Fetching, Row, Scores, Source, Split
from iapt.tasks.fields import check_template, template_fields
from iapt.tasks.splits import SplitRule


class RowTask(ABC):
    """The common part of all tasks; subclasses read rows, parse outputs and score.

    Args:
        name: the task's name, as in `task=boolq`.
        dataset: the folder name of its data.
        template: text with `{fields}` (Appendix D).
        split: keyword arguments of `SplitRule`.
        max_new_tokens: the longest answer, in tokens.
        num_beams: beam size; Section 4.3 says 3, Appendix C.7 says 5 for MT-Bench.
        version: raised whenever a change to the task changes scores.
        sizes: rows per official split as released; fetched data must have them, folders need not.
        release: the released files (hub id and revision, or URLs and checksums), for fetching sources.
        fields: the fields that a template may use; None if only the rows can tell.
        cluster: the field in which dependent examples agree, such as the passage that several questions are
            about; None if all examples are independent.
    """

    metric: str = "acc"

    def __init__(
        self,
        *,
        name: str,
        dataset: str,
        template: str,
        split: Mapping[str, Any],
        max_new_tokens: int,
        num_beams: int = 3,
        version: int = 1,
        sizes: Mapping[str, Count] | None = None,
        release: Mapping[str, Any] | None = None,
        fields: Collection[str] | None = None,
        cluster: str | None = None,
    ) -> None:
        check_template(template, fields)
        if cluster is not None and fields is not None and cluster not in fields:
            raise ConfigError(
                f"task.cluster={cluster!r} for {name!r}: must be one of its fields, {', '.join(fields)}, or null."
                f"{closest(cluster, fields)}"
            )
        if max_new_tokens < 1:
            raise ConfigError(
                f"task.max_new_tokens={max_new_tokens} for {name!r}: must be at least 1."
            )
        if num_beams < 1:
            raise ConfigError(f"task.num_beams={num_beams} for {name!r}: must be at least 1.")
        self.name = name
        self.dataset = dataset
        self.template = template
        self.max_new_tokens = max_new_tokens
        self.num_beams = num_beams
        self.version = version
        self.sizes = dict(sizes or {})
        self.release = release
        self.cluster = cluster
        self.split_rule = checked(SplitRule, split, "task.split")

    @abstractmethod
    def example(self, row: Row, identity: str) -> Example:
        """Turn a row into an example; an unlabelled row gives one without references."""

    @abstractmethod
    def parse(self, output: str, example: Example) -> str | None:
        """Return the answer found in a decoded text, or None; never raises."""

    @abstractmethod
    def score(self, parsed: Sequence[str | None], examples: Sequence[Example]) -> Scores:
        """Score parsed answers, None counting as wrong."""

    def examples(self, split: Split, source: Source) -> list[Example]:
        """Return the examples of a split, in official order.

        Args:
            split: "train", "dev" or "test" in the paper's sense.
            source: the source of the official rows.

        Raises:
            ConfigError: there is no such split.
            DataError: the source lacks the data, differs in size from the release, or has rows without a
                prompt, a gold answer or the field that `cluster` names.
        """
        if split not in SPLITS:
            raise ConfigError(
                f"split={split!r}: must be one of {', '.join(SPLITS)}.{closest(split, SPLITS)}"
            )
        source = self.source(source)
        official, chosen = self._carve(split, source)
        rows = self._official_rows(official, source)
        examples = []
        unlabelled = []
        for i in chosen:
            try:
                example = self.example(rows[i], f"{self.dataset}/{official}/{i}")
                self._check_fields(example)
            except DataError as error:
                raise DataError(f"{source.place(self.dataset, official, i)}: {error}") from error
            examples.append(example)
            if not example.references:
                unlabelled.append(i)
        if unlabelled:
            first = source.place(self.dataset, official, unlabelled[0])
            raise DataError(
                f"{len(unlabelled)} of {len(examples)} rows for {self.name}/{split} have no gold "
                f"answer (first: {first}); official test splits are published without labels. "
                "Train and score on labelled rows: leave the others out, or choose another split "
                "rule."
            )
        return examples

    def place(self, example: Example, source: Source) -> str:
        """Return the file and line from which an example was made."""
        dataset, official, row = example.id.split("/")
        return self.source(source).place(dataset, official, int(row))

    def source(self, source: Source) -> Source:
        """Return the source of this task's rows, which may be a folder of its own."""
        return source

    def follow_ups(self, examples: Sequence[Example], outputs: Sequence[str]) -> list[Example]:
        """Return examples that depend on the answers to others; none by default."""
        return []

    def cluster_of(self, example: Example) -> Hashable:
        """Return a key that dependent examples share, or None if this one is independent."""
        return None if self.cluster is None else example.fields.get(self.cluster)

    def splits(self) -> list[str]:
        """Return the splits that the task has."""
        return self.split_rule.splits()

    def fingerprint(self, source: Source) -> str:
        """Return the fingerprint of all data that the task uses."""
        return self.source(source).fingerprint(self.dataset)

    def releases(self) -> dict[str, Mapping[str, Any]]:
        """Return the pinned release of each data set that the task uses."""
        return {} if self.release is None else {self.dataset: self.release}

    def released_sizes(self) -> dict[Split, int]:
        """Return the size of each split that the rule makes from the released data (Table 6)."""
        sizes: dict[Split, int] = {}
        for split in SPLITS:
            released = self.sizes.get(self.split_rule.official(split) or "")
            if released is not None:
                sizes[split] = len(self.split_rule.indices(split, released, exact=True))
        return sizes

    def check_sizes(self, source: Source, dataset: str) -> dict[str, int]:
        """Return how many rows the source has in each released split of a data set.

        Raises:
            DataError: a fetching source has another number of rows than the release.
        """
        return {split: len(self._official_rows(split, source)) for split in self.sizes}

    def split_report(self, source: Source) -> dict[str, Any]:
        """Describe how each split was made, for `splits.json`."""
        source = self.source(source)
        report: dict[str, Any] = {
            "dataset": self.dataset,
            "source": source.name,
            **self.split_rule.describe(),
        }
        for split in SPLITS:
            try:
                official, chosen = self._carve(split, source)
            except DataError as error:
                report[split] = {"missing": str(error)}
                continue
            report[split] = {
                "from": official,
                "rows": len(chosen),
                "official_rows": len(self._official_rows(official, source)),
                "released_rows": self.sizes.get(official),
            }
        return report

    def _check_fields(self, example: Example) -> None:
        asked = dict.fromkeys(template_fields(self.template))
        if not any(example.fields.get(name) for name in asked):
            raise DataError(
                f"{example.id}: every field of the prompt ({', '.join(asked)}) is empty."
            )
        if self.cluster is not None and self.cluster not in example.fields:
            raise DataError(
                f"{example.id}: task.cluster={self.cluster!r} is no field of the example; it has "
                f"{', '.join(example.fields)}.{closest(self.cluster, example.fields)}"
            )

    def _carve(self, split: Split, source: Source) -> tuple[str, list[int]]:
        official = self.split_rule.official(split)
        if official is None:
            raise DataError(
                f"{self.name} has no {split} split: its rule {self.split_rule.rule!r} makes "
                f"{', '.join(self.split_rule.splits())}."
            )
        n = len(self._official_rows(official, source))
        rule, exact = self.split_rule, isinstance(source, Fetching)
        indices = rule.indices(split, n, exact=exact)
        if not indices:
            raise DataError(
                f"{self.name}/{split} is empty: {official} of {source.name!r} has {n} rows, and {rule.rule} needs at "
                f"least {rule.least(split, exact=exact)} for one row of {split}. Add rows, or choose another split "
                "rule (task.split)."
            )
        return official, indices

    def _official_rows(self, official: str, source: Source) -> Sequence[Row]:
        if isinstance(source, Fetching):
            source.fetch(self.dataset, self.release)
        rows = source.rows(self.dataset, official)
        released = self.sizes.get(official)
        if isinstance(source, Fetching) and released is not None and len(rows) != released:
            raise DataError(
                f"{self.dataset}/{official} from {source.name!r} has {len(rows)} rows, but the release "
                f"has {released}: the download is incomplete or of another version. Fetch it again, or "
                "use data=<folder> for other data."
            )
        return rows


def field_texts(row: Row, columns: Mapping[str, str], identity: str) -> dict[str, str]:
    """Return the text of each template field, given the row field that fills it."""
    return {name: field_text(row, column, identity) for name, column in columns.items()}


def field_text(row: Row, name: str, identity: str) -> str:
    """Return a text field of a row, stripped; numbers become text.

    Raises:
        DataError: the field is missing or not a scalar.
    """
    value = row.get(name)
    if value is None or isinstance(value, (list, dict)):
        have = sorted(field for field in row if row[field] is not None)
        problem = "is missing" if value is None else f"is a {type(value).__name__}, not text"
        raise DataError(
            f"{identity}: field {name!r} {problem}. The row has: {', '.join(have) or 'nothing'}."
            f"{closest(name, [field for field in have if field != name])}"
        )
    return str(value).strip()


def check_lengths(parsed: Sequence[str | None], examples: Sequence[Example], name: str) -> None:
    """Check that there are examples, one answer for each, and that all of them are labelled.

    Raises:
        DataError: one of these does not hold.
    """
    if not examples or len(parsed) != len(examples):
        raise DataError(
            f"{name}: {len(parsed)} answers for {len(examples)} examples; scoring needs one for each, "
            "and at least one."
        )
    unlabelled = [e.id for e in examples if not e.references]
    if unlabelled:
        raise DataError(
            f"{name}: {len(unlabelled)} examples have no gold answer and cannot be scored (first: "
            f"{unlabelled[0]})."
        )
