"""One attempt at a run: it locks the run's folder and always records how it ended."""

import shutil
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock

from iapt.errors import BusyError, StorageError, without_passwords
from iapt.files import note, remove_partials, storing, write_text
from iapt.results.lock import LOCK, SOFT, acquire
from iapt.results.status import CHECKPOINTS, Status, new_status, now, read_status, write_status

TRACEBACK = "failed.txt"
MOMENT = 1.0  # seconds; a look at a run's state also holds its lock for an instant


class Attempt:
    """An attempt that holds the lock on its run's folder; `attempt` creates it.

    Attributes:
        folder: the run's folder.
        writes: whether it writes the run's status; false in all but the first of several processes
            that share the run.
    """

    def __init__(self, folder: Path, *, writes: bool = True) -> None:
        self.folder, self.writes = folder, writes
        self._status: Status | None = None

    @property
    def checkpoint(self) -> Path:
        """The checkpoint file: training resumes from it and writes to it."""
        return self.folder / CHECKPOINTS[0]

    def begin(self, *, clear: bool) -> None:
        """Record that this process is working on the run, after clearing up after earlier attempts.

        Args:
            clear: remove everything that they left, not only their traceback and temporary files.

        Raises:
            StorageError: a file cannot be removed or written, or something other than a file is in its place.
        """
        if clear:
            _empty(self.folder)
        _refuse_other_kinds(self.folder)
        (self.folder / TRACEBACK).unlink(missing_ok=True)
        self._remove_partials()
        self._status = new_status()
        self.doing("preparing")

    def doing(self, part: str) -> None:
        """Record which part of the run begins."""
        self._write(doing=part)

    def finished(self) -> None:
        """Record that the row has been written, and remove what a finished run does not need."""
        self._status = self._status or read_status(self.folder)
        if self._status and self._status.state != "finished":
            self._write(state="finished", reason="")
        for name in (*CHECKPOINTS, TRACEBACK):
            (self.folder / name).unlink(missing_ok=True)
        self._remove_partials()

    def interrupted(self, reason: str) -> None:
        """Record which signal ended the attempt."""
        self._write(state="interrupted", reason=reason)

    def failed(self, error: BaseException) -> None:
        """Record which error ended the attempt, with its traceback in a separate file."""
        text = "".join(traceback.format_exception(error))
        write_text(self.folder / TRACEBACK, without_passwords(text))
        self._write(state="failed", reason=in_one_line(error))

    def _write(self, **changes: str) -> None:
        status = self._status or new_status()
        self._status = status.model_copy(update={"updated": now(), **changes})
        if self.writes:
            write_status(self.folder, self._status)

    def _remove_partials(self) -> None:
        for folder in (self.folder, self.folder / "adapter"):
            remove_partials(folder)


@contextmanager
def attempt(folder: Path, *, wait: bool) -> Iterator[Attempt]:
    """Hold the lock on a run's folder while the block runs; record an error or a signal in it, then re-raise it.

    Args:
        folder: the run's folder; created if missing.
        wait: if another process is working on the run, say so and wait for it.

    Raises:
        BusyError: another process is working on the run, and `wait` is false.
        StorageError: the folder cannot be created or locked.
    """
    lock = _lock(folder, wait=wait)
    try:
        current = Attempt(folder)
        try:
            yield current
        except Exception as error:
            with suppress(StorageError):  # a full disk must not hide the original error
                current.failed(error)
            raise
        except BaseException as error:
            with suppress(StorageError):
                current.interrupted(str(error) or type(error).__name__)
            raise
    finally:
        lock.release()


def tidy(folder: Path) -> None:
    """Remove what a killed process left in the folder of a run that already has its row."""
    with suppress(StorageError, OSError):
        lock = acquire(folder, 0) if folder.is_dir() else None
        if lock:
            try:
                Attempt(folder).finished()
            finally:
                lock.release()


def record_failure(folder: Path, error: Exception) -> None:
    """Record the error of a run that failed before its attempt began, for example while it was planned."""
    with suppress(StorageError, OSError):
        folder.mkdir(parents=True, exist_ok=True)
        lock = acquire(folder, MOMENT)
        if lock:
            try:
                known = read_status(folder)
                if not known or (known.state, known.reason) != ("failed", in_one_line(error)):
                    Attempt(folder).failed(error)
            finally:
                lock.release()


def in_one_line(error: BaseException) -> str:
    """Return an error's type and message."""
    return without_passwords(f"{type(error).__name__}: {' '.join(str(error).split())}")


def _lock(folder: Path, *, wait: bool) -> BaseFileLock:
    with storing(folder, "the folder cannot be made"):
        folder.mkdir(parents=True, exist_ok=True)
    lock = acquire(folder, MOMENT)
    if lock is None:
        status = read_status(folder)
        running = status is not None and status.state == "running"
        holder = status.holder() if status and running else "another process"
        if not wait:
            raise BusyError(f"{folder.name}: {holder} is working on this run.")
        note(f"waiting for {holder}, which is working on this run ({folder}).")
        lock = acquire(folder, -1)
        assert lock is not None, "the wait has no time limit"
    return lock


def _refuse_other_kinds(folder: Path) -> None:
    """Refuse a folder, a pipe or a broken link in place of a file that the run writes, before the long work."""
    for path in folder.iterdir():
        if path.suffix and not path.name.startswith(".") and not path.is_file():
            raise StorageError(f"{path}: not a regular file; remove it.")
    adapter = folder / "adapter"
    if (adapter.exists() or adapter.is_symlink()) and not adapter.is_dir():
        raise StorageError(f"{adapter}: not a folder; remove it.")


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name in (LOCK, SOFT):
            continue
        with storing(path, "cannot be removed"):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
