"""Reading and writing files safely: a write is atomic, and reaches the disk before the file gets its name.

A reader sees the old file or the new one, never half of one; a crash, a full disk or a second process
leaves at most a hidden temporary file behind.  JSON Lines are read strictly: an error names the damaged
line, and nothing is guessed.
"""

import codecs
import errno
import json
import os
import re
import secrets
import socket
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from iapt.errors import ConfigError, DataError, StorageError, say

FORM = "The file needs one JSON object per line."
LARGEST = 64 * 2**20  # bytes of a JSON file or line; a manifest of 10,000 cells takes a quarter
ABANDONED_SECONDS = 24 * 3600
ADDRESS = re.compile(r"(https?|ftp|file|s3|gs|hf):/")  # in a path, only one slash is left


def cache_root() -> Path:
    """Return the folder of the cache: `$IAPT_CACHE`, `$XDG_CACHE_HOME/iapt` or `~/.cache/iapt`."""
    try:
        if os.environ.get("IAPT_CACHE"):
            return Path(os.environ["IAPT_CACHE"]).expanduser()
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "iapt"
    except RuntimeError:  # there is no home folder, so return a place where nothing can be stored
        return Path(os.devnull) / "iapt"


def expanded(name: str | Path) -> Path:
    """Return a path, with `~` as the user's home folder.

    Raises:
        ConfigError: there is no such home folder.
    """
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{name}: no such home folder; write the whole path.") from error


@cache
def note(text: str) -> None:
    """Print a note for the user on standard error, once per process."""
    say("note", text)


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Keep other iapt processes out of a folder while the block runs; a killed process releases its lock.

    Args:
        folder: an existing folder; the lock writes nothing into it.

    Yields:
        Whether the lock is held; False if the system or the file system has no locks.
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
            note(f"waiting for another process to finish in {folder}.")
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:  # some network file systems have no locks
            held = False
        yield held
    finally:
        os.close(handle)


@contextmanager
def storing(path: Path, failed: str = "cannot be written") -> Iterator[None]:
    """Turn an error of the operating system in the block into one line about a path.

    Raises:
        StorageError: naming the path and the reason.
    """
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"{path}: {failed} ({error.strerror or error}).") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path` that replaces `path` when the block succeeds.

    The name is private to this process and this call, so two runs never write to each other's file.
    Missing parent folders are created.  If the block raises, nothing changes.

    Raises:
        StorageError: the disk is full, the folder cannot be created or written, or `path` is an address.
    """
    # The leading dot and the .tmp suffix hide a file left by a crash from every "*.json" pattern.
    # A long name is cut, since file systems allow no more than 255 bytes.
    owner = f"{_host()}-{os.getpid()}-{secrets.token_hex(4)}"
    with storing(path):
        if not path.name:  # "/" or "."
            raise IsADirectoryError(errno.EISDIR, "Is a directory")
        if ADDRESS.match(str(path)):
            raise OSError(errno.EINVAL, "an address, not a place on this machine")
    temporary = path.with_name(f".{path.name[:50]}.{owner}.tmp")
    try:
        with storing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
            _sync_folder(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Create a folder and try to write to it, before long work whose result belongs there.

    Raises:
        StorageError: it cannot be created or written.
    """
    probe = folder / f".{os.getpid()}-{secrets.token_hex(4)}.probe"
    try:
        write_text(probe, "")
    except StorageError as error:
        cause = error.__cause__
        assert isinstance(cause, OSError)
        said = f"{folder}: the folder cannot be written ({cause.strerror or cause})."
        raise StorageError(said) from cause
    with suppress(OSError):
        probe.unlink()


def remove_partials(folder: Path) -> None:
    """Remove the temporary files in a folder that killed processes left behind.

    A file goes if its process ran on this machine and is dead, or if nobody has written to it for a day.
    """
    try:
        found = list(folder.glob(".*.tmp"))
    except OSError:
        return
    for path in found:
        owner = re.fullmatch(r"\..*\.(.+)-(\d+)-[0-9a-f]{8}\.tmp", path.name, re.DOTALL)
        if not owner:
            continue
        dead = owner[1] == _host() and not is_alive(int(owner[2]))
        with suppress(OSError):
            if dead or time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                path.unlink()


def is_alive(pid: int) -> bool:
    """Return whether this machine has a process with this id."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is another user's
        return True
    return True


def _host() -> str:
    """Return this machine's name as a part of a file name."""
    return re.sub(r"[^A-Za-z0-9_]", "_", socket.gethostname())[:40]


def write_text(path: Path, text: str) -> None:
    """Write a text file as UTF-8, atomically.

    Characters that UTF-8 cannot encode (lone surrogates in a model's output) become ``?``.

    Raises:
        StorageError: the file cannot be written.
    """
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="replace", newline="\n") as file,
    ):
        file.write(text)


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON; a value without a JSON form is written as text.

    Raises:
        StorageError: the file cannot be written.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def write_lines(path: Path, values: Iterable[Any]) -> int:
    """Write values as they arrive, one JSON value per line, and return their number.

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


@contextmanager
def reading(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file to read its bytes.

    Raises:
        DataError: it is missing or unreadable, or it is a pipe, a socket or a device, which may keep a
            reader waiting for ever; the message names the file.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise OSError(errno.EINVAL, "not a regular file")
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def read_bytes(path: Path, most: int | None = None) -> bytes:
    """Read a file.

    Args:
        path: the file.
        most: the most bytes that it may have.

    Raises:
        DataError: it is missing, unreadable or too large; the message names the file.
    """
    with reading(path) as file:
        size = os.fstat(file.fileno()).st_size
        if most is not None and size > most:
            raise DataError(f"{path} has {size:,} bytes of at most {most:,}.")
        return file.read()


def read_text(path: Path, most: int | None = None) -> str:
    """Read a UTF-8 text file.

    Args:
        path: the file.
        most: the most bytes that it may have.

    Raises:
        DataError: it is missing, unreadable, too large or not UTF-8; the message names the file.
    """
    content = read_bytes(path, most)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error}).") from error


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: it is missing, unreadable, too large or not JSON; the message names the file.
    """
    content = read_bytes(path, LARGEST)
    try:
        return json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or nested too deeply
        raise DataError(f"{path} is not JSON ({error}).") from error


def read_lines(path: Path, bad: list[str] | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of a JSON Lines file with their 1-based line numbers; blank lines are skipped.

    Args:
        path: the file.
        bad: if given, a line that is not a JSON object is skipped too, and its fault is added here.

    Raises:
        DataError: the file cannot be read, or a line is not a JSON object; the message names the line.
    """
    with reading(path) as file:
        yield from parse_lines(_bounded_lines(file, path), str(path), bad)


def _bounded_lines(file: BinaryIO, path: Path) -> Iterator[bytes]:
    """Yield lines, but refuse one that may not fit into memory, such as a damaged file may have."""
    while line := file.readline(LARGEST + 1):
        if len(line) > LARGEST:
            raise DataError(f"{path} has a line of more than {LARGEST:,} bytes. {FORM}")
        yield line


def parse_lines(
    lines: Iterable[bytes], name: str, bad: list[str] | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield objects as `read_lines` does, from other lines such as an archive's; messages use `name`."""
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


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_number)
        if b"\\u" in line:  # an escape may be half of a surrogate pair, which UTF-8 cannot encode
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
        raise ValueError(f"the field {twice!r} occurs twice")
    return row


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


def _sync_folder(folder: Path) -> None:
    """Make the new name survive a power cut, where the system supports this."""
    with suppress(OSError):  # some file systems cannot open a folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
