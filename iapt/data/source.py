"""Sources of official rows: the packaged sample, a folder, or the hub.

All three read one layout: `<root>/<data set>/{train,validation,test}.jsonl`, UTF-8, one object per line,
with the field names of the Hugging Face data set of that name. Only `Hub.fetch` uses the network.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from iapt.checksums import sha256_of
from iapt.errors import ConfigError, DataError, closest
from iapt.files import FORM, expanded, read_lines
from iapt.tasks.splits import shuffled

T = TypeVar("T")


@contextmanager
def _readable() -> Iterator[None]:
    """Turn the system's refusal to read a folder or file into an error of one line."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read: {error.strerror or error}.") from error


class Folder:
    """Rows from a local folder.

    Args:
        path: the folder with one subfolder per data set.
        name: the source's name in a run's row; the path as given by default.
    """

    def __init__(self, path: str | Path, name: str | None = None) -> None:
        self.path = expanded(path)
        self.name = name or str(path)
        self._given = name is None
        self._rows: dict[tuple[str, str], list[dict[str, Any]]] = {}

    def rows(self, dataset: str, split: str) -> Sequence[Mapping[str, Any]]:
        """Return all rows of an official split, in file order.

        Args:
            dataset: the name of the subfolder, such as "boolq".
            split: "train", "validation" or "test".

        Raises:
            DataError: the folder, data set or split is missing, empty, or not JSON Lines.
        """
        if (dataset, split) not in self._rows:
            self._rows[dataset, split] = read_jsonl(self.file(dataset, split))
        return self._rows[dataset, split]

    @_readable()
    def file(self, dataset: str, split: str) -> Path:
        """Return the file of a split.

        Raises:
            DataError: it does not exist; the message lists the files that do.
        """
        folder = self._folder(dataset)
        path = folder / f"{split}.jsonl"
        if not path.is_file():
            have = sorted(p.stem for p in folder.glob("*.jsonl") if p.is_file())
            raise DataError(
                f"{folder} has no {split}.jsonl; it has {', '.join(have) or 'no .jsonl file'}. Put "
                f"the official {split} rows there, choose a task or split rule that does not need them, "
                f"or use data=sample.{closest(split, have)}"
            )
        return path

    @_readable()
    def fingerprint(self, dataset: str) -> str:
        """Return 16 hex digits that identify the names and bytes of the data set's files."""
        digest = hashlib.sha256()
        for path in sorted(p for p in self._folder(dataset).glob("*.jsonl") if p.is_file()):
            digest.update(f"{path.stem}:{sha256_of(path)}\n".encode())
        return digest.hexdigest()[:16]

    def place(self, dataset: str, split: str, row: int) -> str:
        """Return the file and the line, counted from 1, of a row, counted from 0."""
        path = self.file(dataset, split)
        with path.open("rb") as lines:
            filled = (number for number, line in enumerate(lines, start=1) if line.strip())
            return f"{path}, line {next(islice(filled, row, None))}"

    def at(self, folder: str) -> "Folder":
        """Return a source for one data set whose files are directly in a folder; a path that was given comes first."""
        return self if self._given else _OneFolder(folder)

    def _folder(self, dataset: str) -> Path:
        if not self.path.is_dir():
            wrong = "is not a folder" if self.path.exists() else "does not exist"
            raise DataError(
                f"data folder {self.path} {wrong}. Give one with <data set>/train.jsonl and so on, or use "
                "data=sample (part of the package) or data=hub."
            )
        folder = self.path / dataset
        if not folder.is_dir():
            have = sorted(
                p.name for p in self.path.iterdir() if p.is_dir() and any(p.glob("*.jsonl"))
            )
            raise DataError(
                f"data folder {self.path} has no data set {dataset!r}; it has "
                f"{', '.join(have) or 'none'}. Make {folder}/train.jsonl and so on, or choose "
                f"another task or data source.{closest(dataset, have)}"
            )
        return folder


class _OneFolder(Folder):
    def _folder(self, dataset: str) -> Path:
        if not self.path.is_dir():
            absent = f"does not exist (seen from {Path.cwd()})"
            wrong = "is not a folder" if self.path.exists() else absent
            raise DataError(
                f"task.folder={self.name} {wrong}. Give the folder that holds the train.jsonl of {dataset}."
            )
        return self.path


class Sample(Folder):
    """The package's small generated data sets, meant for trying things out, not for results."""

    def __init__(self) -> None:
        super().__init__(Path(__file__).parent / "sample", name="sample")


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read a JSON Lines file: values as written, None for a field that only other rows have.

    Unlike the reader of `datasets`, our own parser names the line of an error and does not take the text
    "2020-01-01" for a date; `datasets` only checks that every field has one type.

    Raises:
        DataError: the file is empty or not JSON Lines (the message names the line), or a field has several types.
    """
    rows = dict(read_lines(path))  # by line
    if not rows:
        raise DataError(f"{path} {'has no rows' if path.stat().st_size else 'is empty'}. {FORM}")
    return _typed(rows, path)


def _typed(rows: dict[int, dict[str, Any]], path: Path) -> list[dict[str, Any]]:
    """Return the rows, given by line number, all with the same fields; refuse a field of several types."""
    import datasets  # takes seconds to import, and `--help` does not need it

    names = dict.fromkeys(name for row in rows.values() for name in row)
    columns = {name: [row.get(name) for row in rows.values()] for name in names}
    for name, values in columns.items():
        try:
            kept = _same(datasets.Dataset.from_dict({name: values})[name][:], values)
        except (ValueError, TypeError, OverflowError):  # Arrow's errors are of the first two kinds
            kept = False
        if not kept:
            first: dict[str, int] = {}
            for number, value in zip(rows, values, strict=True):
                if value is not None:
                    first.setdefault(type(value).__name__, number)
            found = ", ".join(f"{kind} in line {number}" for kind, number in first.items())
            raise DataError(
                f"{path}: the values of {name!r}, or their parts, are not all of one type "
                f"(first {found}); use one type in all rows, for example text."
            )
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _same(kept: Any, given: Any) -> bool:
    """Return whether a value came back unchanged, except for parts that only other rows have."""
    if isinstance(kept, dict) and isinstance(given, dict):
        return all(_same(value, given.get(key)) for key, value in kept.items())
    if isinstance(kept, list) and isinstance(given, list):
        return len(kept) == len(given) and all(map(_same, kept, given))
    return bool(kept == given)


def limited(examples: Sequence[T], n: int | None) -> list[T]:
    """Return the first n of a fixed shuffle, or all in order if n is None or at least their number.

    The shuffle has a constant seed of its own: the choice never depends on the run's seed, and a smaller
    limit gives a subset of a larger one.

    Raises:
        ConfigError: n is below 1.
    """
    if n is not None and n < 1:
        raise ConfigError(f"limit={n}: must be at least 1, or null for no limit.")
    if n is None or n >= len(examples):
        return list(examples)
    return [examples[i] for i in shuffled(len(examples), seed=0)[:n]]
