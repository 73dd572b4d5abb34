"""A Hugging Face repository at a pinned revision, with every file checked against the revision's hashes.

The hub's listing of a revision gives, for each file, the SHA-256 of its content (large files) or its git
blob id. A file that does not match is fetched again, so a damaged file in the local cache is replaced
instead of used.
"""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.error import HTTPError
from urllib.request import urlopen

from iapt.checksums import git_blob_id, remembered_sha256
from iapt.errors import DataError, StorageError
from iapt.files import cache_root, read_json, write_json
from iapt.remote.trouble import DamagedError, patiently

TIMEOUT_SECONDS = 60
COMMIT = re.compile(r"[0-9a-f]{40}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}|git:[0-9a-f]{40}")


@dataclass(frozen=True)
class Entry:
    """One file of a revision.

    Attributes:
        path: its place in the repository.
        size: bytes.
        digest: `sha256:` or `git:` and hex digits.
    """

    path: str
    size: int
    digest: str

    def __post_init__(self) -> None:
        """Refuse a path with which a hostile hub could write outside the folder."""
        path = PurePosixPath(self.path)
        if path.is_absolute() or ".." in path.parts or "\\" in self.path or not path.name:
            raise ValueError(f"{self.path!r} is not a path inside a repository")
        if not DIGEST.fullmatch(self.digest):
            raise ValueError(f"{self.path}: {self.digest!r} is not a digest")

    def fault(self, path: Path) -> str | None:
        """Say how a local file differs from this entry; None if it does not differ."""
        kind, _, expected = self.digest.partition(":")
        size = path.stat().st_size
        if size != self.size:
            return f"has {size:,} bytes, but the revision has {self.size:,}{page(path)}"
        found = remembered_sha256(path) if kind == "sha256" else git_blob_id(path)
        if found != expected:
            return f"has {kind} {found[:12]}, but the revision has {expected[:12]}{page(path)}"
        return None


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep the client's log of its own retries (ten lines per fault) off the terminal."""
    from huggingface_hub.utils.logging import get_verbosity, set_verbosity

    before = get_verbosity()
    if before == logging.WARNING:  # the default; otherwise the user has set HF_HUB_VERBOSITY
        set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        set_verbosity(before)


class Repository:
    """A model or data set on the hub.

    Its methods raise what `huggingface_hub` raises, and `DamagedError`; callers wrap them in `as_ours`.

    Args:
        kind: "model" or "dataset".
        name: `owner/name`.
        revision: a commit, or a branch, which stands for its newest commit.
    """

    def __init__(
        self, kind: Literal["model", "dataset"], name: str, revision: str = "main"
    ) -> None:
        self.kind = kind
        self.name = name
        self.revision = revision

    @property
    def link(self) -> str:
        """The repository's page, where access can be requested."""
        from huggingface_hub import constants

        return f"{constants.ENDPOINT}/{'datasets/' if self.kind == 'dataset' else ''}{self.name}"

    @_quietly()
    def commit(self) -> str:
        """Return the revision's commit: a branch's newest, or, without a network, the last one fetched."""
        from huggingface_hub import hf_hub_download

        if COMMIT.fullmatch(self.revision):
            return self.revision
        kept = hf_hub_download(self.name, "config.json", revision=self.revision)
        return Path(kept).parent.name

    @_quietly()
    def listing(self) -> list[Entry]:
        """Return all files of the revision, as the hub lists them."""
        from huggingface_hub import HfApi, constants
        from huggingface_hub.hf_api import RepoFile

        if not constants.HF_HUB_OFFLINE:  # otherwise the client refuses immediately
            reach(constants.ENDPOINT)
        found = HfApi(constants.ENDPOINT).list_repo_tree(
            self.name, recursive=True, revision=self.revision, repo_type=self.kind
        )
        return [
            Entry(f.path, f.size, f"sha256:{f.lfs.sha256}" if f.lfs else f"git:{f.blob_id}")
            for f in found
            if isinstance(f, RepoFile)
        ]

    @_quietly()
    def file(self, entry: Entry, folder: Path | None = None) -> Path:
        """Return the path of one file, fetched only if it is missing or damaged.

        Args:
            entry: the file.
            folder: where to put it; the hub's own cache by default.

        Raises:
            DamagedError: the file arrives damaged at every try.
            OSError: the cached file is damaged, and fetching is disabled.
        """
        from huggingface_hub import constants, hf_hub_download

        force = False

        def attempt() -> Path:
            nonlocal force
            path = Path(
                hf_hub_download(
                    self.name,
                    entry.path,
                    repo_type=self.kind,
                    revision=self.revision,
                    local_dir=folder,
                    force_download=force,
                )
            )
            fault = entry.fault(path)
            if fault is None:
                return path
            if constants.HF_HUB_OFFLINE:
                raise OSError(f"{path} {fault}, and HF_HUB_OFFLINE forbids fetching it again")
            force = True
            raise DamagedError(f"{entry.path} {fault}")

        return patiently(attempt, self.name)

    def snapshot(self, wanted: Callable[[str], bool]) -> Path:
        """Return the folder in the hub's cache with the wanted top-level files of a model's repository.

        A commit's listing is kept in our cache, so loading it again asks nothing of the hub.

        Raises:
            FileNotFoundError: the revision has no such file.
        """
        pinned = Repository(self.kind, self.name, self.commit())
        paths = [pinned.file(entry) for entry in pinned.entries(wanted)]
        return paths[0].parent

    def entries(self, wanted: Callable[[str], bool]) -> list[Entry]:
        """Return the entries of the wanted top-level files of the repository.

        Raises:
            FileNotFoundError: the revision has no such file.
        """
        pinned = Repository(self.kind, self.name, self.commit())
        entries = [e for e in pinned._kept_listing() if "/" not in e.path and wanted(e.path)]
        if not entries:
            raise FileNotFoundError("the revision has none of the files that are needed")
        return entries

    def _kept_listing(self) -> list[Entry]:
        record = cache_root() / "listings" / f"{self.name.replace('/', '--')}-{self.revision}.json"
        with suppress(DataError, TypeError, ValueError):
            return [Entry(**row) for row in read_json(record)]
        try:
            entries = self.listing()
        except Exception:
            entries = self.in_the_cache()
            if not entries:
                raise
            return entries
        with suppress(StorageError):
            write_json(record, [asdict(entry) for entry in entries])
        return entries

    def in_the_cache(self) -> list[Entry]:
        """Return entries for the revision's files in the hub's cache, which names them after their digests."""
        from huggingface_hub import try_to_load_from_cache

        kept = try_to_load_from_cache(self.name, "config.json", revision=self.revision)
        kinds = {40: "git", 64: "sha256"}
        return [
            Entry(
                path.name,
                path.stat().st_size,
                f"{kinds[len(path.resolve().name)]}:{path.resolve().name}",
            )
            for path in (Path(kept).parent.iterdir() if isinstance(kept, str) else ())
            if path.is_file() and len(path.resolve().name) in kinds
        ]


def reach(url: str) -> None:
    """Check that a server answers at a URL, with any status; the hub's client would retry for half a minute.

    Raises:
        OSError: nothing answers there.
    """
    try:
        urlopen(url, timeout=TIMEOUT_SECONDS).close()
    except HTTPError as error:
        error.close()


def page(path: Path) -> str:
    """Return a remark if a file begins like a web page, else empty text."""
    with path.open("rb") as file:
        begins = file.read(64).lstrip()[:1] == b"<"
    return "; it is a web page, such as a login page or a proxy's" if begins else ""
