"""The one place that touches the disk with care: whole or not at all, and on the disk before it counts.

A reader sees the old file or the new one, never half of one; a crash, a full disk or a second process
leaves at most a hidden temporary file behind.  Lines of JSON are read strictly, so that a damaged file
is named with its line instead of being half understood.
"""

import codecs
import hashlib
import json
import os
import secrets
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from iapt.errors import DataError, StorageError

FORM = "The file needs one JSON object a line."
CLOCK_TICK_SECONDS = 0.1  # ten times the coarsest clock that a local file system uses


def cache_root() -> Path:
    """Where files that can be made again are kept: `$IAPT_CACHE`, `$XDG_CACHE_HOME/iapt` or `~/.cache/iapt`."""
    try:
        if os.environ.get("IAPT_CACHE"):
            return Path(os.environ["IAPT_CACHE"]).expanduser()
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "iapt"
    except (
        RuntimeError
    ):  # no $HOME, and no home in the password file: a place where nothing can be kept
        return Path(os.devnull) / "iapt"


@cache
def note(text: str) -> None:
    """Tell the user, once, what goes on differently than planned; on standard error."""
    print(f"note: {text}", file=sys.stderr, flush=True)


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Keep other processes of ours out of a folder while the block runs; the system frees it after a kill.

    Args:
        folder: an existing folder; nothing is written into it.

    Yields:
        Whether the lock is held. False where the system or the file system has none.
    """
    try:
        import fcntl  # absent on Windows

        handle = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        yield False
        return
    try:
        held = True
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note(f"waiting for another process that is at work in {folder}.")
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:  # some network file systems
            held = False
        yield held
    finally:
        os.close(handle)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary file beside `path`; when the block ends well it takes the place of `path`.

    The name is private to this process and this call, so that two runs never write into each other's.
    Missing parent folders are made.  Nothing changes if the block raises.

    Raises:
        StorageError: the disk is full, or the folder cannot be made or written.
    """
    # The leading dot and the .tmp ending keep a file that a crash left out of every "*.json" pattern.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror or error}).") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file as UTF-8, whole or not at all.

    Characters that UTF-8 cannot hold (lone surrogates in a model's output) become ``?``.

    Raises:
        StorageError: the file cannot be written.
    """
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="replace", newline="\n") as file,
    ):
        file.write(text)


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON; what JSON has no form for is written as its text.

    Raises:
        StorageError: the file cannot be written.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def write_lines(path: Path, values: Iterable[Any]) -> int:
    """Write one JSON value a line, as they come; return how many.

    Raises:
        StorageError: the file cannot be written.
    """
    written = 0
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="replace", newline="\n") as file,
    ):
        for value in values:
            file.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")
            written += 1
    return written


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: it is missing, unreadable or not JSON; the message names the file.
    """
    try:
        return json.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or nested without end
        raise DataError(f"{path} is not JSON ({error}).") from error


def read_lines(path: Path, bad: list[str] | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of a JSON Lines file with their 1-based line numbers; blank lines are passed over.

    Args:
        path: the file.
        bad: where given, a line that is not a JSON object is passed over too, and its fault added here.

    Raises:
        DataError: the file cannot be read, or a line is not a JSON object; the message names the line.
    """
    try:
        with path.open("rb") as lines:
            yield from parse_lines(lines, str(path), bad)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def parse_lines(
    lines: Iterable[bytes], name: str, bad: list[str] | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Do what `read_lines` does with lines from elsewhere, such as an archive, under a name for messages."""
    for number, line in enumerate(lines, start=1):
        text = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        if not text.strip():
            continue
        try:
            row = _object(text, f"{name}, line {number}")
        except DataError as error:
            if bad is None:
                raise
            bad.append(str(error))
        else:
            yield number, row


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, as hex.

    Raises:
        DataError: the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    return digest.hexdigest()


def remembered_sha256(path: Path) -> str:
    """`sha256_of`, computed once: a record in the cache answers while the file's size and times stay the same.

    A change of content changes the file's ctime, which no program can set back. Where the cache cannot be
    written, the digest is computed each time.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    state = [stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]
    record = cache_root() / "digests" / f"{name}.json"
    with suppress(DataError, KeyError, TypeError):
        known = read_json(record)
        if known["state"] == state and isinstance(known["sha256"], str):
            return known["sha256"]
    digest = sha256_of(path)
    # Two writes within one tick of the file system's clock look the same, so a new file is not remembered yet.
    if time.time() - stat.st_ctime > CLOCK_TICK_SECONDS:
        with suppress(StorageError):
            write_json(record, {"path": str(path), "state": state, "sha256": digest})
    return digest


def git_blob_id(path: Path) -> str:
    """The id that git gives to a file of this content.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_number)
        if b"\\u" in line:  # an escape may stand for half a character, which no text can hold
            json.dumps(row, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not UTF-8 text ({error}). {FORM}") from error
    except UnicodeEncodeError as error:
        raise DataError(f"{where}: half of a surrogate pair ({error.reason}). {FORM}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON ({error}). {FORM}") from error
    if not isinstance(row, dict):
        raise DataError(f"{where}: a {type(row).__name__}, not an object. {FORM}")
    return row


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the field {twice!r} is there twice")
    return row


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


def _sync_folder(folder: Path) -> None:
    """Make the new name itself survive a power cut, where the system can."""
    with suppress(OSError):  # not every file system lets a folder be opened
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
