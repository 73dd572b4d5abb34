"""Checksums of files: SHA-256, remembered while a file is unchanged, and git's id of a blob."""

import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path

from iapt.errors import DataError, StorageError
from iapt.files import cache_root, read_bytes, read_json, reading, write_json

CLOCK_TICK_SECONDS = 0.1  # ten times the tick of the coarsest local file system


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, as hex digits.

    Raises:
        DataError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with reading(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def remembered_sha256(path: Path) -> str:
    """Return `sha256_of` a file, from a record in the cache while the file's size and times are unchanged.

    Changing the content changes the file's ctime, which no program can reset. If the cache cannot be
    written, the digest is computed each time.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    state = [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]
    record = cache_root() / "digests" / f"{name}.json"
    with suppress(DataError, KeyError, TypeError):
        known = read_json(record)
        if known["state"] == state and isinstance(known["sha256"], str):
            return known["sha256"]
    digest = sha256_of(path)
    # Two writes within one tick of the file system's clock look alike, so a new file is not recorded yet.
    if time.time() - found.st_ctime > CLOCK_TICK_SECONDS:
        with suppress(StorageError):
            write_json(record, {"path": str(path), "state": state, "sha256": digest})
    return digest


def git_blob_id(path: Path) -> str:
    """Return git's id of a file with this content.

    Raises:
        DataError: the file cannot be read.
    """
    content = read_bytes(path)
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
