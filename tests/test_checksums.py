import os
from pathlib import Path

import pytest

from iapt import checksums
from iapt.checksums import sha256_of
from iapt.errors import DataError


def test_the_digest_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of(tmp_path / "a").startswith("ba7816bf8f01cfea414140de5dae2223")


def test_a_digest_is_computed_once_and_again_after_any_change(tmp_path, monkeypatch):
    monkeypatch.setenv("IAPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(checksums, "CLOCK_TICK_SECONDS", -1)  # or this test would have to wait
    path = tmp_path / "a"
    path.write_bytes(b"one")
    first = checksums.remembered_sha256(path)
    assert first == checksums.sha256_of(path)
    with monkeypatch.context() as patch:
        patch.setattr(checksums, "sha256_of", lambda _: pytest.fail("computed again"))
        assert checksums.remembered_sha256(path) == first
    stat = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert checksums.remembered_sha256(path) == checksums.sha256_of(path) != first
    for record in (tmp_path / "cache" / "digests").iterdir():
        record.write_text("[")
    assert checksums.remembered_sha256(path) == checksums.sha256_of(path)


def test_a_file_of_this_moment_is_not_remembered(tmp_path, monkeypatch):
    monkeypatch.setenv("IAPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(checksums, "CLOCK_TICK_SECONDS", 1e9)
    (tmp_path / "a").write_bytes(b"one")
    checksums.remembered_sha256(tmp_path / "a")
    assert not (tmp_path / "cache").exists()


def test_digests_need_no_cache(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"one")
    monkeypatch.setenv("IAPT_CACHE", str(tmp_path / "a"))
    assert checksums.remembered_sha256(tmp_path / "a") == checksums.sha256_of(tmp_path / "a")
    with pytest.raises(DataError, match="cannot be read: No such file"):
        checksums.remembered_sha256(tmp_path / "b")


def test_git_blob_ids_are_gits_own(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    assert checksums.git_blob_id(tmp_path / "a") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
