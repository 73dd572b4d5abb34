"""The result row, which a run builds and everything else reads; `row_files` keeps it on disk.

A row states what ran (`cell`, `config`, hashes), on what (`data`, `backbone`, `versions`, `git`,
`device`) and with what result (`scores`, `dev`, `params`, `seconds`, `peak_memory_mib`).  Validation is
strict where a wrong value would spoil a table: names, seed, hashes, scores.  A measurement may be
missing; tables show a dash for it.
"""

import math
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    model_validator,
)
from pydantic_core import to_jsonable_python

SCHEMA = 1


def _file_name(name: str) -> str:
    if name in (".", "..") or set(name) & set("/\\") or not name.isprintable() or not name.strip():
        raise ValueError("must be a plain file name")
    if len(name.encode()) > 240:
        raise ValueError("must be a file name of at most 240 bytes")
    return name


def _known_schema(version: int) -> int:
    if version != SCHEMA:
        raise ValueError(f"must be {SCHEMA}, the schema that this version of iapt reads")
    return version


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


FileName = Annotated[str, AfterValidator(_file_name)]
Text = Annotated[str, Field(min_length=1, pattern=r"\S")]
ROUNDING = 1e-5  # points between a score and the mean of its items
Count = Annotated[int, Field(ge=0, lt=2**63)]
Score = Annotated[float, Field(ge=0, le=100)]
Measured = Annotated[float | None, BeforeValidator(_finite)]  # JSON has neither NaN nor infinity
Amount = Annotated[Annotated[float, Field(ge=0)] | None, BeforeValidator(_finite)]
Moment = Annotated[datetime, AfterValidator(_utc)]
Json = Annotated[
    dict[str, JsonValue],
    BeforeValidator(lambda value: to_jsonable_python(value, inf_nan_mode="null")),
]


class _Block(BaseModel):
    """A part of a row."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="allow", populate_by_name=True, allow_inf_nan=False
    )


class CellNames(_Block):
    """The names that identify a run: its table entry and its seed."""

    task: Text
    backbone: Text
    method: Text
    hparams: Text
    data: Text
    seed: Count
    variant: str = ""


class TestScores(_Block):
    """Scores on the test split, 0-100; details whose names start with ``n_`` are counts.

    `items` has the score of each example in the split's order, and `value` is their mean (empty in older
    rows and for a metric that is not a mean). `clusters` has a number for each example, which those that share
    a passage or conversation have in common (empty if all are independent).
    """

    __test__ = False  # or pytest would take it for a class of tests

    metric: Text
    value: Score
    n: Count
    n_unparsed: Count
    details: dict[str, Measured] = {}
    items: tuple[Score, ...] = ()
    clusters: tuple[Count, ...] = ()

    @model_validator(mode="after")
    def _aligned(self) -> "TestScores":
        for name in ("items", "clusters"):
            found = len(getattr(self, name))
            if found not in (0, self.n):
                raise ValueError(f"{name} has {found} numbers for n={self.n} examples")
        if self.n_unparsed > self.n:
            raise ValueError(f"n_unparsed={self.n_unparsed} is more than n={self.n} examples")
        mean = math.fsum(self.items) / len(self.items) if self.items else self.value
        if not math.isclose(mean, self.value, abs_tol=ROUNDING):
            raise ValueError(f"value={self.value:g} is not the mean of items, {mean:g}")
        return self


class DevPoint(_Block):
    """One evaluation on the dev split: loss in nats per response token, accuracy 0-100."""

    step: Count
    loss: Measured = None
    accuracy: Measured = None


class Dev(_Block):
    """Evaluations on the dev split; the majority accuracy is that of always giving the most common answer."""

    best_step: int | None = None
    best_loss: Measured = None
    best_accuracy: Measured = None
    curve: tuple[DevPoint, ...] = ()
    majority_accuracy: Measured = None


class Params(_Block):
    """Parameter counts; `trained_at_first` is larger if a search or a schedule prunes."""

    trained_at_first: Count | None = None
    trained: Count | None = None
    stored: Count | None = None
    active_at_decode: Count | None = None


class DataUsed(_Block):
    """The data: rows of each split, cut prompts ("follow_ups" are the second turns), rows left out."""

    source: str | None = None
    fingerprint: str | None = None
    sizes: dict[str, Count] = {}
    truncated: dict[str, Count] = {}
    skipped: dict[str, Count] = {}
    task_version: int | None = None


class Decoding(_Block):
    """How the test split was decoded."""

    num_beams: Count | None = None
    max_new_tokens: Count | None = None
    batch_tokens: Count | None = None


class BackboneUsed(_Block):
    """The frozen model as loaded."""

    name: str | None = None
    checkpoint: str | None = None
    revision: str | None = None
    fingerprint: str | None = None
    dtype: str | None = None
    attn: str | None = None
    quantization: str | None = None


class Git(_Block):
    """The commit of the checkout, and whether it had uncommitted changes; None outside a checkout."""

    commit: str | None = None
    dirty: bool | None = None


class Seconds(_Block):
    """Wall time in seconds."""

    train: Amount = None
    per_step: Amount = None
    eval: Amount = None
    test: Amount = None
    total: Amount = None


class Search(_Block):
    """The search for a structure, before training."""

    steps: Count | None = None
    seconds: Amount = None


class Row(_Block):
    """One finished run.

    Attributes:
        config: The resolved configuration, without settings such as output folders and device.
        config_hash: Hash of the configuration.
        cell_hash: Hash of the configuration without its seed.
        setting_hash: Hash of the configuration without seed, task and method.
        structure: The structure that the method found, without its lists and mappings.
        judge: Scores that a judge gave the run's outputs later, if any.
        created: The time at which the run ended.
        path: The file of the row.
    """

    schema_version: Annotated[int, AfterValidator(_known_schema)] = Field(
        default=SCHEMA, alias="schema"
    )
    status: Literal["finished"]
    run_id: FileName
    cell: CellNames
    config: Json
    config_hash: Text
    cell_hash: str = ""
    setting_hash: Text
    scores: TestScores
    dev: Dev = Dev()
    params: Params = Params()
    data: DataUsed = DataUsed()
    decoding: Decoding = Decoding()
    backbone: BackboneUsed = BackboneUsed()
    versions: dict[str, str] = {}
    git: Git = Git()
    device: str = ""
    seconds: Seconds = Seconds()
    tokens_per_second: Amount = None
    steps: Count | None = None
    search: Search = Search()
    structure: Json = {}
    peak_memory_mib: Amount = None
    judge: Json | None = None
    created: Moment
    path: Path | None = Field(default=None, exclude=True)

    def setting(self, *keys: str) -> JsonValue:
        """Return the configuration's value under these nested keys, or None."""
        found: JsonValue = self.config
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        return found


def number(value: object) -> float | None:
    """Return a finite number unchanged, and None for anything else."""
    plain = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if plain else None  # type: ignore[arg-type]
