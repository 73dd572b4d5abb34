"""The released data sets, brought into the local layout once and checked from then on.

A release is pinned in the task's YAML: a Hugging Face data set with its revision, or files of a
repository at a commit, each with the git blob id of its content. `iapt.data.release` reads their
formats. What is written lies in `<root>/<data set>/` beside a `manifest.json` with the SHA-256 of
each file; a folder whose manifest agrees is never fetched again, and nothing else in this package
downloads data.
"""

import json
import os
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from hashlib import sha1
from pathlib import Path
from typing import Any

from iapt.data.release import READERS, Rows
from iapt.data.source import Folder
from iapt.errors import ConfigError, DataError, closest
from iapt.files import cache_root, replacing, sha256_of, write_json

MANIFEST = "manifest.json"
OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
TRUE = ("1", "ON", "YES", "TRUE")  # what huggingface_hub takes for true
TIMEOUT_SECONDS = 60
KINDS = ("hub", *sorted(READERS))


class Hub(Folder):
    """Rows of the released data sets.

    Args:
        root: folder that they are kept in; `hub` under the cache folder by default.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        super().__init__(root or cache_root() / "hub", name="hub")
        self._present: set[str] = set()

    def fetch(self, dataset: str, release: Mapping[str, Any] | None) -> None:
        """Bring the pinned release to `<root>/<dataset>`, unless it is there and whole.

        Args:
            dataset: folder name below the root.
            release: `kind` and where the files are, from the task's YAML.

        Raises:
            DataError: offline or unreachable, another file than the pinned one, or files that no
                longer agree with their manifest.
        """
        if dataset in self._present:
            return
        folder = self.path / dataset
        if (folder / MANIFEST).is_file():
            faults = verify(folder, release)
            if faults:
                raise DataError(f"{folder}: {'; '.join(faults)}. Delete it and fetch again.")
        else:
            fetch(release, dataset, folder)
        self._present.add(dataset)

    def _folder(self, dataset: str) -> Path:
        folder = self.path / dataset
        if not folder.is_dir():
            raise DataError(
                f"{dataset} is not in {self.path}. iapt-data fetch task=<a task on it> brings it there."
            )
        return folder


def fetch(release: Mapping[str, Any] | None, dataset: str, folder: Path) -> dict[str, Any]:
    """Download a release and write it to the folder, all or nothing; return the manifest.

    Raises:
        ConfigError: the release is of an unknown kind.
        DataError: see `Hub.fetch`; also a folder that holds other files already.
    """
    if release is None:
        raise DataError(f"{dataset} has no released files to fetch (no `release` in its YAML).")
    if release.get("kind") not in KINDS:
        raise ConfigError(
            f"task.release.kind={release.get('kind')!r}: must be one of {', '.join(KINDS)}."
            f"{closest(str(release.get('kind')), KINDS)}"
        )
    if folder.exists() and any(folder.iterdir()):
        raise DataError(f"{folder} has files but no {MANIFEST}; give an empty or a new folder.")
    offline = [name for name in OFFLINE if os.environ.get(name, "").upper() in TRUE]
    if offline:
        raise DataError(
            f"{dataset} is not in {folder} and {offline[0]} forbids fetching it. Run `iapt-data "
            "fetch` where there is a network and copy the folder, or use data=sample."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{dataset}-", dir=folder.parent))
    try:
        splits = _hub_splits(release, work) if release["kind"] == "hub" else _read(release, work)
        new = work / "rows"
        files = {}
        for split, rows in splits.items():
            path = new / f"{split}.jsonl"
            count = _write_jsonl(path, rows)
            files[path.name] = {"rows": count, "sha256": sha256_of(path)}
        manifest = {"schema": 1, "dataset": dataset, "release": dict(release), "files": files}
        write_json(new / MANIFEST, manifest)
        if folder.exists():
            folder.rmdir()
        os.replace(new, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return manifest


def verify(folder: Path, release: Mapping[str, Any] | None = None) -> list[str]:
    """Compare the files of a fetched data set with its manifest.

    Args:
        folder: the data set's folder.
        release: where given, the release that it must have been fetched from.

    Returns:
        What is wrong, one text for each fault; empty if all is well.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files = {str(name): entry["sha256"] for name, entry in manifest["files"].items()}
    except OSError:
        return [f"no {MANIFEST}, so iapt-data has not fetched it"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
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
    import datasets
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError

    where = f"{release['id']} ({release['config']}) at {release['revision']}"
    datasets.disable_progress_bars()
    try:
        reach(constants.ENDPOINT)  # without a network, the loader would try again for half a minute
        loaded = datasets.load_dataset(
            release["id"],
            None if release["config"] == "default" else release["config"],
            revision=release["revision"],
            cache_dir=str(work / "hub"),
        )
    except (OSError, HfHubHTTPError, ValueError, RuntimeError) as error:
        raise DataError(
            f"cannot fetch {where} from the Hugging Face hub: {error} Check the network and "
            "HF_ENDPOINT, or bring the files by hand and use data=<folder>."
        ) from error
    return {str(split): rows for split, rows in loaded.items()}


def reach(url: str) -> None:
    """Return if a server answers at a URL, whatever it answers.

    Raises:
        OSError: nothing answers there.
    """
    try:
        urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS).close()
    except urllib.error.HTTPError:
        return


def _read(release: Mapping[str, Any], work: Path) -> dict[str, Rows]:
    files = {
        key: download(f"{release['base']}/{file['name']}", str(file["blob"]), work / str(number))
        for number, (key, file) in enumerate(release["files"].items())
    }
    return READERS[release["kind"]](files)


def download(url: str, blob: str, path: Path) -> Path:
    """Download one file and check its git blob id.

    Raises:
        DataError: unreachable, or another content.
    """
    try:
        with (
            urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer,
            path.open("wb") as file,
        ):
            shutil.copyfileobj(answer, file)
    except (OSError, urllib.error.URLError, ValueError) as error:
        raise DataError(
            f"cannot fetch {url}: {error}. Check the network, or bring the files by hand and use "
            "data=<folder>."
        ) from error
    found = git_blob_id(path)
    if found != blob:
        raise DataError(f"{url} is not the pinned file: git blob {found}, pinned is {blob}.")
    return path


def git_blob_id(path: Path) -> str:
    """Return the id that git gives to a file of this content."""
    digest = sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    count = 0
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="\n") as file,
    ):
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count
