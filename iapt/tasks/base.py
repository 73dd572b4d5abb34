"""The interface of a task: rows in, examples out; decoded text in, scores out.

A task knows the data set's field names, the answer format and the metric. It does not know models,
tokenizers or system prompts, which belong to `iapt.data` and `iapt.backbone`. The template, a text with
`{fields}`, comes from the task's YAML; a task only fills the fields.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args, runtime_checkable

Split = Literal["train", "dev", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Example:
    """One input with its target.

    Attributes:
        id: `<data set>/<official split>/<row number>`, stable for one data file.
        fields: values for the template, outer whitespace removed.
        response: the text the model learns to produce.
        references: the texts that count as right; the response is one of them, or scores like one.
            Empty if the example is unlabelled.
        meta: what scoring needs besides the text (a table, a category).
    """

    id: str
    fields: Mapping[str, str]
    response: str
    references: tuple[str, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Scores:
    """The result of one evaluation.

    Attributes:
        metric: the name in a table's column head: acc, f1-em, rouge-l.
        value: 0-100.
        n: number of examples scored.
        n_unparsed: number of outputs that could not be parsed and count as wrong.
        details: further numbers, 0-100 unless the name starts with `n_`.
    """

    metric: str
    value: float
    n: int
    n_unparsed: int
    details: Mapping[str, float] = field(default_factory=dict)


class Source(Protocol):
    """A source of official rows: the packaged sample, a folder, the hub."""

    name: str

    def rows(self, dataset: str, split: str) -> Sequence[Row]:
        """Return all rows of an official split, in file order."""

    def fingerprint(self, dataset: str) -> str:
        """Return 16 hex digits that identify the bytes of the data set's files."""

    def at(self, folder: str) -> "Source":
        """Return a source for one data set whose files are in a folder of their own, unless this one comes first."""

    def place(self, dataset: str, split: str, row: int) -> str:
        """Return the file and line of a row, for messages."""


@runtime_checkable
class Fetching(Protocol):
    """A source that fetches the released files first, and so guarantees the released sizes."""

    def fetch(self, dataset: str, release: Mapping[str, Any] | None) -> None:
        """Fetch the pinned release into the local layout, unless it is there already."""

    def available(self, dataset: str) -> bool:
        """Return whether a data set is already there, so that reading it needs no network."""


class Task(Protocol):
    """What a run needs from a task; `RowTask` implements the common part."""

    name: str
    metric: str
    template: str
    max_new_tokens: int
    num_beams: int
    version: int

    def examples(self, split: Split, source: Source) -> list[Example]:
        """Return the split's examples, the same ones on every call."""

    def parse(self, output: str, example: Example) -> str | None:
        """Return the answer found in a decoded text, or None; never raises."""

    def score(self, parsed: Sequence[str | None], examples: Sequence[Example]) -> Scores:
        """Score parsed answers, None counting as wrong."""

    def follow_ups(self, examples: Sequence[Example], outputs: Sequence[str]) -> list[Example]:
        """Return examples that depend on the answers to others."""

    def fingerprint(self, source: Source) -> str:
        """Return the fingerprint of all data that the task uses."""

    def split_report(self, source: Source) -> dict[str, Any]:
        """Describe how each split was made, as JSON values."""


@runtime_checkable
class Clustered(Protocol):
    """A task that knows which of its examples are not independent."""

    def cluster_of(self, example: Example) -> Hashable:
        """Return a key that dependent examples share, or None if this one is independent."""
