"""The state of a run, derived from its status file, its lock and its row, whichever process runs it.

planned       nothing has started
running       a process works on it
interrupted   a signal ended it cleanly; it resumes from its checkpoint
failed        an error ended it; failed.txt has the traceback
killed        its status says running, and no process holds its lock
finished      it has a row
"""

import os
import socket
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from iapt.errors import DataError, StorageError
from iapt.files import is_alive, read_json, write_text
from iapt.results.lock import is_held
from iapt.results.row import Moment, Row
from iapt.results.row_files import read_row

State = Literal["finished", "running", "interrupted", "failed", "killed", "planned"]
STATES: tuple[State, ...] = get_args(State)

FILE = "status.json"
CHECKPOINTS = ("checkpoint.safetensors", "search.safetensors")


class Status(BaseModel):
    """status.json in a run's folder, written by the process that holds the folder's lock.

    Attributes:
        schema_version: version of this file.
        state: "killed" and "planned" are never written; they follow from what is missing.
        doing: the current part of the run: preparing, training or decoding.
        host: the machine that the process runs on.
        pid: the id of the process.
        started: when this attempt began.
        updated: when this file was written.
        reason: why the attempt ended: the signal, or the error's type and message.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_version: Literal[1] = 1
    state: Literal["running", "interrupted", "failed", "finished"]
    doing: str = ""
    host: str
    pid: Annotated[int, Field(ge=1, lt=2**31)]
    started: Moment
    updated: Moment
    reason: str = ""

    def holder(self) -> str:
        """Return "process 7 on host since 2026-11-24 17:20:11"."""
        since = self.started.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        return f"process {self.pid} on {self.host} since {since}"


def now() -> datetime:
    """Return the current time, in UTC."""
    return datetime.now(timezone.utc)


def new_status() -> Status:
    """Return the status of an attempt that this process begins now."""
    time, host = now(), socket.gethostname()
    return Status(state="running", host=host, pid=os.getpid(), started=time, updated=time)


def write_status(folder: Path, status: Status) -> None:
    """Write the status file of a run, atomically.

    Raises:
        StorageError: it cannot be written.
    """
    write_text(folder / FILE, status.model_dump_json(indent=1) + "\n")


def read_status(folder: Path) -> Status | None:
    """Read the status file of a run; None if it is missing or damaged."""
    path = folder / FILE
    try:
        return Status.model_validate(read_json(path)) if path.is_file() else None
    except (DataError, ValidationError, OSError):
        return None


@dataclass(frozen=True)
class Standing:
    """What is known about a run.

    Attributes:
        state: see the module's docstring.
        status: what its status file says, if there is one.
        row: its row, if it has one.
        reason: why it is not finished, in one line.
    """

    state: State
    status: Status | None = None
    row: Row | None = None
    reason: str = ""


def standing(folder: Path, row_file: Path) -> Standing:
    """Derive the state of a run from its folder and its row, without changing anything.

    A row counts unless a later attempt (`force=true`) began and did not finish.
    """
    status = read_status(folder)
    if status and status.state == "running" and _is_live(folder, status):
        return Standing("running", status, None, f"{status.doing}: {status.holder()}")
    row, damage = None, ""
    if row_file.exists():
        try:
            row = read_row(row_file)
        except DataError as error:
            damage = f"{error} force=true runs it again and replaces the file."
    if row and (not status or status.state == "finished" or row.created >= status.started):
        return Standing("finished", status, row)
    if damage:
        return Standing("failed", status, None, damage)
    if not status:
        begun = any((folder / name).is_file() for name in CHECKPOINTS)
        return Standing("interrupted" if begun else "planned", None, row)
    if status.state == "running":
        return Standing("killed", status, row, f"while {status.doing}: {status.holder()}")
    if status.state == "finished":  # but the row was deleted
        return Standing("planned", status)
    return Standing(status.state, status, row, status.reason)


def _is_live(folder: Path, status: Status) -> bool:
    """Return whether the process that wrote a status is still working on the run."""
    try:
        return is_held(folder)
    except StorageError:  # another user's folder
        return status.host != socket.gethostname() or is_alive(status.pid)
