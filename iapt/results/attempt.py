"""One attempt at a run: it alone works in the run's folder, and it always leaves a word on how it ended."""

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
MOMENT = 1.0  # seconds; whoever looks at a run's state holds its lock for an instant


class Attempt:
    """An attempt that holds the lock of its run's folder; `attempt` makes it.

    Attributes:
        folder: the run's folder.
        writes: false in all but the first of several processes that share the run.
    """

    def __init__(self, folder: Path, *, writes: bool = True) -> None:
        self.folder, self.writes = folder, writes
        self._status: Status | None = None

    @property
    def checkpoint(self) -> Path:
        """The file to resume from and to write to."""
        return self.folder / CHECKPOINTS[0]

    def begin(self, *, clear: bool) -> None:
        """Say that this process works on the run, after removing what is in its way.

        Args:
            clear: remove everything that earlier attempts left, not only their failure.

        Raises:
            StorageError: a file cannot be removed or written, or something else is in its place.
        """
        if clear:
            _empty(self.folder)
        _refuse_other_kinds(self.folder)
        (self.folder / TRACEBACK).unlink(missing_ok=True)
        self._remove_partials()
        self._status = new_status()
        self.doing("preparing")

    def doing(self, part: str) -> None:
        """Say which part of the run begins."""
        self._write(doing=part)

    def finished(self) -> None:
        """Say that the row is written, and remove what a finished run does not need."""
        self._status = self._status or read_status(self.folder)
        if self._status and self._status.state != "finished":
            self._write(state="finished", reason="")
        for name in (*CHECKPOINTS, TRACEBACK):
            (self.folder / name).unlink(missing_ok=True)
        self._remove_partials()

    def interrupted(self, reason: str) -> None:
        """Say that a signal ended the attempt."""
        self._write(state="interrupted", reason=reason)

    def failed(self, error: BaseException) -> None:
        """Say which error ended the attempt, with its traceback in a separate file."""
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
    """Hold a run's folder while the block runs; an error or a signal in it is recorded, then raised.

    Args:
        folder: the run's folder; made if missing.
        wait: wait for another process that has the run, after saying so.

    Raises:
        BusyError: another process has the run, and `wait` is false.
        StorageError: the folder cannot be made or locked.
    """
    lock = _lock(folder, wait=wait)
    try:
        current = Attempt(folder)
        try:
            yield current
        except Exception as error:
            with suppress(StorageError):  # a full disk must not hide what happened
                current.failed(error)
            raise
        except BaseException as error:
            with suppress(StorageError):
                current.interrupted(str(error) or type(error).__name__)
            raise
    finally:
        lock.release()


def tidy(folder: Path) -> None:
    """Remove what a killed process left in the folder of a run that has its row."""
    with suppress(StorageError, OSError):
        lock = acquire(folder, 0) if folder.is_dir() else None
        if lock:
            try:
                Attempt(folder).finished()
            finally:
                lock.release()


def record_failure(folder: Path, error: Exception) -> None:
    """Record the error of a run that failed before its attempt began, such as in its plan."""
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
    """Return an error's kind and message."""
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
        assert lock is not None, "there is no end to the wait"
    return lock


def _refuse_other_kinds(folder: Path) -> None:
    """Refuse a folder, a pipe or a link to nowhere where a run writes a file, before long work."""
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
