"""An attempt at a run: alone in the folder, always with a word on its end, nothing left over."""

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from iapt.errors import BusyError, DataError, StorageError
from iapt.files import write_json
from iapt.results import lock as lock_module
from iapt.results import status as status_module
from iapt.results.attempt import Attempt, attempt, record_failure, tidy
from iapt.results.lock import acquire, is_held
from iapt.results.row_files import write_row
from iapt.results.status import Status, new_status, now, read_status, standing, write_status
from tests.results.example_rows import a_row

DEAD = 2**22 + 1  # above the largest process id of Linux


def fail(folder: Path, error: BaseException, *, clear: bool = False) -> None:
    """Make an attempt that ends with an error."""
    with attempt(folder, wait=False) as current:
        current.begin(clear=clear)
        raise error


def state(folder: Path) -> tuple[str, str]:
    found = standing(folder, folder.parent / "row.json")
    return found.state, found.reason


def status_of(pid: int, state: str = "running", host: str | None = None) -> Status:
    host = host or socket.gethostname()
    status = new_status().model_copy(update={"pid": pid, "doing": "training"})
    return status.model_copy(update={"state": state, "host": host})


def test_the_states_of_a_run_from_nothing_to_the_end(tmp_path: Path):
    folder = tmp_path / "run"
    assert state(folder) == ("planned", "")
    with attempt(folder, wait=False) as current:
        current.begin(clear=False)
        now_running = state(folder)
        current.finished()
    assert now_running[0] == "running"
    assert now_running[1].startswith(f"preparing: process {os.getpid()} on ")
    assert state(folder)[0] == "planned", "finished, but its row was deleted"
    write_row(tmp_path, a_row(created=now().isoformat())).path.rename(tmp_path / "row.json")
    assert state(folder)[0] == "finished"


def test_an_error_leaves_its_traceback_apart_and_one_line_in_the_status(tmp_path: Path):
    folder = tmp_path / "run"
    with pytest.raises(DataError):
        fail(folder, DataError("no split\n at http://user:pw@host"))
    assert state(folder) == ("failed", "DataError: no split at http://***@host")
    text = (folder / "failed.txt").read_text()
    assert text.startswith("Traceback")
    assert "pw" not in text
    with attempt(folder, wait=False) as current:
        current.begin(clear=False)
        assert not (folder / "failed.txt").exists()


def test_an_interrupt_is_no_failure(tmp_path: Path):
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        fail(folder, KeyboardInterrupt())
    assert state(folder) == ("interrupted", "KeyboardInterrupt")
    assert not (folder / "failed.txt").exists()


def test_a_process_that_died_without_a_word_was_killed(tmp_path: Path):
    folder = tmp_path / "run"
    for host in (None, "elsewhere"):
        write_status(folder, status_of(DEAD, host=host))
        found, reason = state(folder)
        assert found == "killed"
        assert reason.startswith(f"while training: process {DEAD} on {host or ''}")


def test_a_folder_with_a_checkpoint_and_no_status_was_interrupted(tmp_path: Path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "search.safetensors").write_bytes(b"")
    assert state(folder) == ("interrupted", "")


@pytest.mark.parametrize("text", ["", "[]", '{"state": "killed"}', "\xff", '{"pid": -1}'])
def test_a_damaged_status_is_as_none(tmp_path: Path, text: str):
    (tmp_path / "status.json").write_text(text, encoding="latin-1")
    assert read_status(tmp_path) is None
    assert state(tmp_path)[0] == "planned"


def test_a_damaged_row_is_a_failure_that_says_what_to_do(tmp_path: Path):
    write_json(tmp_path / "row.json", {})
    found, reason = state(tmp_path / "run")
    assert found == "failed"
    assert reason.endswith("force=true runs it again and replaces the file.")


def test_a_row_does_not_hide_that_a_later_attempt_failed(tmp_path: Path):
    folder = tmp_path / "run"
    write_row(tmp_path, a_row(created=now().isoformat())).path.rename(tmp_path / "row.json")
    with pytest.raises(DataError):
        fail(folder, DataError("no"), clear=True)
    assert state(folder)[0] == "failed"
    tidy(folder)
    assert state(folder)[0] == "finished", "the row counts again when the run is asked for again"


def test_a_second_process_is_told_who_holds_the_run(tmp_path: Path):
    with attempt(tmp_path, wait=False) as current:
        current.begin(clear=False)
        assert is_held(tmp_path)
        with (
            pytest.raises(BusyError, match=rf"process {os.getpid()} on .+ since 20"),
            attempt(tmp_path, wait=False),
        ):
            pass
        assert read_status(tmp_path).state == "running", "the second one wrote nothing"
    assert not is_held(tmp_path)


def test_a_forced_attempt_removes_all_of_the_old_run_but_follows_no_link(tmp_path: Path):
    folder, apart = tmp_path / "run", tmp_path / "apart"
    (folder / "adapter").mkdir(parents=True)
    (folder / "adapter" / "adapter.safetensors").write_text("old")
    for name in ("search.safetensors", "predictions.jsonl", "status.json", ".old.tmp"):
        (folder / name).write_text("old")
    apart.mkdir()
    (apart / "kept").write_text("mine")
    (folder / "link").symlink_to(apart)
    with attempt(folder, wait=False) as current:
        current.begin(clear=True)
        assert {p.name for p in folder.iterdir()} == {".lock", "status.json"}
    assert (apart / "kept").exists()


def test_a_finished_run_leaves_nothing_that_it_does_not_need(tmp_path: Path):
    partial = f".adapter.safetensors.{socket.gethostname()}-{DEAD}-0123abcd.tmp"
    with attempt(tmp_path, wait=False) as current:
        current.begin(clear=False)
        (tmp_path / "adapter").mkdir()
        for name in (
            "checkpoint.safetensors",
            "search.safetensors",
            "failed.txt",
            f"adapter/{partial}",
        ):
            (tmp_path / name).write_text("")
        current.finished()
    assert {p.name for p in tmp_path.iterdir()} == {".lock", "status.json", "adapter"}
    assert not list((tmp_path / "adapter").iterdir())


def test_tidying_leaves_a_run_alone_at_which_someone_works(tmp_path: Path):
    with attempt(tmp_path, wait=False) as current:
        current.begin(clear=False)
        (tmp_path / "checkpoint.safetensors").write_text("")
        tidy(tmp_path)
        assert (tmp_path / "checkpoint.safetensors").exists()
        assert read_status(tmp_path).state == "running"
    tidy(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()


def test_a_failure_before_the_attempt_is_recorded_once(tmp_path: Path):
    error = DataError("no such card")
    record_failure(tmp_path / "run", error)
    first = read_status(tmp_path / "run")
    record_failure(tmp_path / "run", error)
    assert read_status(tmp_path / "run") == first
    assert state(tmp_path / "run") == ("failed", "DataError: no such card")


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that knows no locks, such as NFS without its lock service."""

    def refuse(path: Path, **_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(lock_module, "FileLock", refuse)


@pytest.mark.usefixtures("no_locks")
def test_without_locks_of_the_system_a_file_names_the_holder_and_a_dead_one_holds_nothing(
    tmp_path: Path,
):
    lock = acquire(tmp_path, 0)
    assert (tmp_path / ".lock.holder").read_text().splitlines()[0] == str(os.getpid())
    assert is_held(tmp_path)
    lock.release()
    assert not is_held(tmp_path)
    (tmp_path / ".lock.holder").write_text(f"{DEAD}\n{socket.gethostname()}\n")
    assert not is_held(tmp_path)


@pytest.mark.usefixtures("no_locks")
def test_without_locks_of_the_system_a_forced_attempt_keeps_the_file_that_names_it(tmp_path: Path):
    (tmp_path / "predictions.jsonl").write_text("old")
    with attempt(tmp_path, wait=False) as current:
        current.begin(clear=True)
        assert is_held(tmp_path)
        assert not (tmp_path / "predictions.jsonl").exists()


def test_only_the_first_of_several_processes_writes_the_status(tmp_path: Path):
    with attempt(tmp_path, wait=False) as current:
        current.begin(clear=False)
        other = Attempt(tmp_path, writes=False)
        other.doing("training")
        other.finished()
        found = read_status(tmp_path)
        assert (found.state, found.doing, found.pid) == ("running", "preparing", os.getpid())


@pytest.mark.parametrize(
    ("host", "pid", "expected"),
    [("elsewhere", DEAD, "running"), (None, os.getpid(), "running"), (None, DEAD, "killed")],
    ids=["elsewhere", "here", "here no longer"],
)
def test_where_the_lock_cannot_be_tried_the_host_and_process_decide(
    host: str | None, pid: int, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(folder: Path) -> bool:
        raise StorageError(f"{folder}: cannot be locked.")

    monkeypatch.setattr(status_module, "is_held", refuse)
    write_status(tmp_path, status_of(pid, host=host))
    assert state(tmp_path)[0] == expected


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_named(tmp_path: Path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(StorageError, match="cannot be locked"):
        acquire(tmp_path, 0)


@pytest.mark.parametrize("name", ["metrics.jsonl", "predictions.jsonl", "checkpoint.safetensors"])
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda p: p.symlink_to(p.name)])
def test_something_else_in_the_place_of_a_file_is_named_before_any_work(
    make: Callable[[Path], None], name: str, tmp_path: Path
):
    make(tmp_path / name)
    with (
        pytest.raises(StorageError, match=f"{name}: not a regular file"),
        attempt(tmp_path, wait=False) as current,
    ):
        current.begin(clear=False)


def test_a_file_in_the_place_of_the_adapter_is_named(tmp_path: Path):
    (tmp_path / "adapter").write_text("")
    with (
        pytest.raises(StorageError, match="adapter: not a folder"),
        attempt(tmp_path, wait=False) as current,
    ):
        current.begin(clear=False)
