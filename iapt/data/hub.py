"""The released data sets, fetched into the local layout once and checked from then on.

A task's YAML pins its release: a Hugging Face data set at a revision, or files of a repository at a
commit, each with the git blob id of its content; `iapt.data.release` reads the latter. The rows are
written to `<root>/<data set>/` beside a `manifest.json` with the SHA-256 of each file. A folder that
agrees with its manifest is never fetched again, and nothing else in this package downloads data.
"""

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from iapt.checksums import sha256_of
from iapt.data.release import READERS, Rows
from iapt.data.source import Folder
from iapt.errors import ConfigError, DataError, StorageError, closest
from iapt.files import cache_root, locked, read_json, write_json, write_lines
from iapt.remote.raw import download
from iapt.remote.repository import Entry, Repository
from iapt.remote.trouble import as_ours

MANIFEST = "manifest.json"
OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
TRUE = ("1", "ON", "YES", "TRUE")  # the values that huggingface_hub takes as true
KINDS = ("hub", *sorted(READERS))
# The files that tell `datasets` which files belong to a configuration.
DESCRIPTIONS = ("README.md", "dataset_infos.json", ".huggingface.yaml")
BY_HAND = "If this persists, copy the files by hand and use data=<folder>."


class Hub(Folder):
    """Rows of the released data sets.

    Args:
        root: the folder of all data sets; `hub` in the cache folder by default.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        super().__init__(root or cache_root() / "hub", name="hub")
        self._present: set[str] = set()

    def available(self, dataset: str) -> bool:
        """Return whether a data set has been fetched, so that reading it needs no network."""
        return (self.path / dataset / MANIFEST).is_file()

    def fetch(self, dataset: str, release: Mapping[str, Any] | None) -> None:
        """Fetch the pinned release into `<root>/<dataset>`, unless it is present and intact.

        Args:
            dataset: folder name below the root.
            release: `kind` and where the files are, from the task's YAML.

        Raises:
            DataError: the server cannot be reached, a file differs from the pinned one, or files no
                longer agree with their manifest.
        """
        if dataset in self._present:
            return
        folder = self.path / dataset
        if not self.available(dataset):
            fetch(release, dataset, folder)
        elif faults := verify(folder, release):
            raise DataError(f"{folder}: {'; '.join(faults)}. Delete it and fetch again.")
        self._present.add(dataset)

    def _folder(self, dataset: str) -> Path:
        folder = self.path / dataset
        if not folder.is_dir():
            raise DataError(
                f"{dataset} is not in {self.path}. Fetch it with iapt-data fetch task=<a task that uses it>."
            )
        return folder


def fetch(release: Mapping[str, Any] | None, dataset: str, folder: Path) -> dict[str, Any]:
    """Download a release into the folder, all or nothing; return the manifest.

    Raises:
        ConfigError: the release is of an unknown kind.
        DataError: as in `Hub.fetch`, or the folder already has other files.
        StorageError: the folder cannot be written.
    """
    if release is None:
        raise DataError(f"{dataset} has no released files to fetch (no `release` in its YAML).")
    if release.get("kind") not in KINDS:
        raise ConfigError(
            f"task.release.kind={release.get('kind')!r}: must be one of {', '.join(KINDS)}."
            f"{closest(str(release.get('kind')), KINDS)}"
        )
    if folder.is_dir() and any(folder.iterdir()):
        raise DataError(f"{folder} has files but no {MANIFEST}; give an empty or a new folder.")
    offline = [name for name in OFFLINE if os.environ.get(name, "").upper() in TRUE]
    if offline:
        raise DataError(
            f"{dataset} is not in {folder} and {offline[0]} forbids fetching it. Run `iapt-data "
            "fetch` where there is a network and copy the folder, or use data=sample."
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.parent) as alone:
            if (folder / MANIFEST).is_file():  # fetched by another process while this one waited
                return dict(read_json(folder / MANIFEST))
            if alone:  # then such folders were left behind by killed processes
                for left in folder.parent.glob(f".{dataset}-*"):
                    shutil.rmtree(left, ignore_errors=True)
            return _fetch(release, dataset, folder)
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(
            f"{folder.parent} cannot be written ({error.strerror or error}). Name another folder: data.root= of a run, "
            "out= of iapt-data fetch, or IAPT_CACHE."
        ) from error


def _fetch(release: Mapping[str, Any], dataset: str, folder: Path) -> dict[str, Any]:
    work = Path(tempfile.mkdtemp(prefix=f".{dataset}-", dir=folder.parent))
    try:
        splits = _hub_splits(release, work) if release["kind"] == "hub" else _read(release, work)
        new = work / "rows"
        files = {}
        for split, rows in splits.items():
            path = new / f"{split}.jsonl"
            files[path.name] = {"rows": write_lines(path, rows), "sha256": sha256_of(path)}
        manifest = {"schema": 1, "dataset": dataset, "release": dict(release), "files": files}
        write_json(new / MANIFEST, manifest)
        with suppress(FileNotFoundError):
            folder.rmdir()
        os.replace(new, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return manifest


def verify(folder: Path, release: Mapping[str, Any] | None = None) -> list[str]:
    """Compare the files of a fetched data set with its manifest.

    Args:
        folder: the data set's folder.
        release: the release from which it must have been fetched; None if any will do.

    Returns:
        One text per fault.
    """
    if not (folder / MANIFEST).is_file():
        return [f"no {MANIFEST}, so iapt-data has not fetched it"]
    try:
        manifest = read_json(folder / MANIFEST)
        files = {str(name): entry["sha256"] for name, entry in manifest["files"].items()}
    except (DataError, KeyError, TypeError, AttributeError) as error:
        return [f"{MANIFEST} is damaged ({error!r})"]
    faults = []
    for name, expected in files.items():
        if not (folder / name).is_file():
            faults.append(f"{name} is missing")
        elif sha256_of(folder / name) != expected:
            faults.append(f"{name} has changed since it was fetched")
    extra = sorted(path.name for path in folder.glob("*.jsonl") if path.name not in files)
    faults += [f"{name} is not in the manifest" for name in extra]
    if release is not None and manifest.get("release") != dict(release):
        faults.append("fetched from another release than the task's YAML pins")
    return faults


def _hub_splits(release: Mapping[str, Any], work: Path) -> dict[str, Rows]:
    """Return the splits of a configuration, read from files that agree with the pinned revision."""
    import datasets

    datasets.disable_progress_bars()
    repository = Repository("dataset", release["id"], release["revision"])
    where = f"{release['id']} ({release['config']}) at {release['revision']}"
    with as_ours(
        DataError, f"cannot fetch {where} from the Hugging Face hub", BY_HAND, repository.link
    ):
        folder = _files_of(release["config"], repository, work / "repository")
        loaded = datasets.load_dataset(
            str(folder), _config(release["config"]), cache_dir=str(work / "arrow")
        )
        return {str(split): rows for split, rows in loaded.items()}


def _files_of(config: str, repository: Repository, folder: Path) -> Path:
    """Lay out a repository, fetching only the files of one configuration.

    `datasets` chooses these by their names, so empty files can stand in for the others.
    """
    import datasets

    entries: dict[Path, Entry] = {}
    for entry in repository.listing():
        path = folder / entry.path
        entries[path.resolve()] = entry
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    described = [path for path, entry in entries.items() if entry.path in DESCRIPTIONS]
    _fill(described, entries, repository, folder)
    builder = datasets.load_dataset_builder(
        str(folder), _config(config), cache_dir=str(folder.with_name("arrow"))
    )
    needed = [
        Path(name).resolve() for names in builder.config.data_files.values() for name in names
    ]
    _fill(needed, entries, repository, folder)
    return folder


def _fill(
    paths: Iterable[Path], entries: Mapping[Path, Entry], repository: Repository, folder: Path
) -> None:
    for path in paths:
        path.unlink()
        repository.file(entries[path], folder)


def _config(name: str) -> str | None:
    return None if name == "default" else name


def _read(release: Mapping[str, Any], work: Path) -> dict[str, Rows]:
    files = {}
    for number, (key, file) in enumerate(release["files"].items()):
        url = f"{release['base']}/{file['name']}"
        with as_ours(DataError, f"cannot fetch {url}", BY_HAND):
            files[key] = download(url, str(file["blob"]), work / str(number))
    with as_ours(DataError, f"{release['base']} is not a {release['kind']} release", BY_HAND):
        return READERS[release["kind"]](files)
