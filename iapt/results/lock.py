"""The lock of a run's folder: at most one process works on a run.

It is a lock of the operating system (`flock`), which is released when its process ends, however that happens;
Linux passes it on over NFS. On a file system without such locks, a file that names the host and process takes
its place; other processes on that host can tell from it whether the holder is dead.
"""

from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from iapt.errors import StorageError

LOCK, SOFT = ".lock", ".lock.holder"


def acquire(folder: Path, seconds: float) -> BaseFileLock | None:
    """Acquire the lock on a run's folder.

    Args:
        folder: an existing folder.
        seconds: how long to wait for the lock; -1 waits without limit.

    Returns:
        The lock, which the caller releases, or None if another process held it the whole time.

    Raises:
        StorageError: there is no permission to lock, or no kind of lock works here.
    """
    try:
        try:
            return _acquired(FileLock(folder / LOCK, thread_local=False), seconds)
        except (Timeout, PermissionError):
            raise
        except OSError:  # such as NFS without its lock service
            # filelock 4.1 removes a dead holder's file in one attempt and takes the lock in the next.
            patience = max(seconds, 0.2) if seconds >= 0 else seconds
            return _acquired(SoftFileLock(folder / SOFT, thread_local=False), patience)
    except Timeout:
        return None
    except OSError as error:
        reason = error.strerror or error
        raise StorageError(f"{folder / LOCK}: cannot be locked ({reason}).") from error


def is_held(folder: Path) -> bool:
    """Return whether a process, this one included, holds the lock on a run's folder.

    Raises:
        StorageError: as `acquire`.
    """
    if not any((folder / name).exists() for name in (LOCK, SOFT)):
        return False
    lock = acquire(folder, 0)
    if lock:
        lock.release()
    return lock is None


def _acquired(lock: BaseFileLock, seconds: float) -> BaseFileLock:
    lock.acquire(timeout=seconds, poll_interval=0.1 if seconds >= 0 else 1.0)
    return lock
