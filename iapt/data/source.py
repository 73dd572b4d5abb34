"""Where official rows come from: the shipped sample, a folder, or the hub.

All three read one layout: `<root>/<data set>/{train,validation,test}.jsonl`, UTF-8, one object a
line, in the field names of the Hugging Face data set of that name. `datasets` reads the files; its
Arrow files go to a cache folder of ours, named by the file's content, so a changed file is never
mistaken for the old one. Nothing here touches the network except `Hub.fetch`.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from iapt.cache import cache_root
from iapt.errors import ConfigError, DataError, closest
from iapt.tasks.splits import shuffled

FORM = "The file needs one JSON object a line."
T = TypeVar("T")


class Folder:
    """Rows from a local folder.

    Args:
        path: the folder that holds one sub-folder for each data set.
        name: what the run's row calls it; the path as given by default.
        cache_dir: where `datasets` keeps its Arrow files; a folder under `cache_root()` by default.
    """

    def __init__(
        self, path: str | Path, name: str | None = None, cache_dir: str | Path | None = None
    ) -> None:
        self.path = Path(path).expanduser()
        self.name = name or str(path)
        self.cache_dir = Path(cache_dir) if cache_dir else cache_root() / "rows"
        self._rows: dict[tuple[str, str], list[dict[str, Any]]] = {}

    def rows(self, dataset: str, split: str) -> Sequence[Mapping[str, Any]]:
        """Return all rows of an official split, in file order.

        Args:
            dataset: name of the sub-folder, such as "boolq".
            split: "train", "validation" or "test".

        Raises:
            DataError: the folder, data set or split is missing, empty, or not JSON Lines.
        """
        if (dataset, split) not in self._rows:
            self._rows[dataset, split] = read_jsonl(self.file(dataset, split), self.cache_dir)
        return self._rows[dataset, split]

    def file(self, dataset: str, split: str) -> Path:
        """Return the file of a split.

        Raises:
            DataError: it does not exist; the message says what does.
        """
        folder = self._folder(dataset)
        path = folder / f"{split}.jsonl"
        if not path.is_file():
            have = sorted(p.stem for p in folder.glob("*.jsonl"))
            raise DataError(
                f"{folder} has no {split}.jsonl; it has {', '.join(have) or 'no .jsonl file'}. Put "
                f"the official {split} rows there, choose a task or split rule that does without, "
                f"or use data=sample.{closest(split, have)}"
            )
        return path

    def fingerprint(self, dataset: str) -> str:
        """Return 16 hex digits over the names and bytes of the data set's files."""
        digest = hashlib.sha256()
        for path in sorted(self._folder(dataset).glob("*.jsonl")):
            digest.update(f"{path.stem}:{sha256_of(path)}\n".encode())
        return digest.hexdigest()[:16]

    def at(self, folder: str) -> "Folder":
        """Return a source for one data set whose files lie in the folder itself."""
        return _OneFolder(folder, cache_dir=self.cache_dir)

    def _folder(self, dataset: str) -> Path:
        if not self.path.is_dir():
            raise DataError(
                f"data folder {self.path} does not exist. Give one that holds <data set>/train.jsonl "
                "and so on, or use data=sample (ships with the package) or data=hub."
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
            raise DataError(
                f"task.folder={self.name} does not exist (seen from {Path.cwd()}). Give the folder "
                f"that holds the train.jsonl of {dataset}."
            )
        return self.path


class Sample(Folder):
    """The small generated data sets of the package: for trying things out, not for results."""

    def __init__(self, cache_dir: str | Path | None = None) -> None:
        super().__init__(Path(__file__).parent / "sample", name="sample", cache_dir=cache_dir)


def read_jsonl(path: Path, cache_dir: Path) -> list[dict[str, Any]]:
    """Read a JSON Lines file; strings stay strings, even those that look like dates.

    Args:
        path: the file.
        cache_dir: where the Arrow form goes, in a folder named by the file's content.

    Raises:
        DataError: the file is empty or not JSON Lines; names the line.
    """
    if not path.stat().st_size:
        raise DataError(f"{path} is empty. {FORM}")
    import datasets  # takes seconds to import, and `--help` does not need it

    datasets.disable_progress_bars()
    where = str(cache_dir / sha256_of(path)[:16])
    try:
        rows = datasets.Dataset.from_json(str(path), cache_dir=where)
        if _guesses_time(rows.features):
            # Arrow reads 2020-01-01 as a time and would write it in another form.
            rows = datasets.Dataset.from_list(_objects(path))
    except (ValueError, datasets.exceptions.DatasetGenerationError) as error:
        raise DataError(_what_is_wrong(path, error)) from error
    return rows.to_list()


def _guesses_time(kind: Any) -> bool:
    if isinstance(kind, dict):
        return any(map(_guesses_time, kind.values()))
    inner = getattr(kind, "feature", None)
    if inner is not None:
        return _guesses_time(inner)
    return str(getattr(kind, "dtype", "")).startswith(("timestamp", "date", "time", "duration"))


def _objects(path: Path) -> list[dict[str, Any]]:
    with path.open("rb") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def _what_is_wrong(path: Path, error: Exception) -> str:
    number = 0
    with path.open("rb") as lines:
        for position, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            number += 1
            try:
                row = json.loads(line)
            except ValueError as bad:
                return f"{path}, line {position}: not JSON ({bad}). {FORM}"
            if not isinstance(row, dict):
                kind = type(row).__name__
                return f"{path}, line {position}: a {kind}, not an object. {FORM}"
    return f"{path} cannot be read: {error}" if number else f"{path} has no rows. {FORM}"


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as hex."""
    with path.open("rb") as file:
        return (
            hashlib.file_digest(file, "sha256").hexdigest()
            if hasattr(hashlib, "file_digest")
            else _slow(file)
        )


def _slow(file: Any) -> str:  # Python 3.10 has no file_digest
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def limited(examples: Sequence[T], n: int | None) -> list[T]:
    """Return the first n of a fixed shuffle; all, in order, where n is None or not smaller.

    The shuffle has its own constant seed: a limit never depends on the run's seed, and a smaller
    limit is a part of a larger one.

    Raises:
        ConfigError: n is below 1.
    """
    if n is not None and n < 1:
        raise ConfigError(f"limit={n}: must be at least 1, or null for no limit.")
    if n is None or n >= len(examples):
        return list(examples)
    return [examples[i] for i in shuffled(len(examples), seed=0)[:n]]
