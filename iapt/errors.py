"""Every error this package raises on purpose.

IaptError
├── ConfigError    a setting is wrong; found before any model is loaded
├── DataError      a data file or split is missing, malformed or too small
├── BackboneError  a checkpoint cannot be loaded, or lacks what a method needs
├── AdapterError   a saved adapter does not fit, or its method cannot do what was asked
├── TrainingError  training cannot continue (a non-finite loss, a broken checkpoint)
├── MetricError    a metric received inputs that it cannot score
├── BusyError      another process works on this run
├── IncompleteError  a grid is not finished, though nothing failed
├── StorageError   a file cannot be written (a full disk, a folder without permission)
└── JudgeError     the judge endpoint failed for good
"""

import difflib
import re
import sys
import unicodedata
from collections.abc import Iterable

LINES, LETTERS = 20, 1500  # of one message, which has a line for each wrong field, and of a line


class IaptError(Exception):
    """Base class: a message meant for the user, printed without a traceback by the commands.

    Attributes:
        exit_code: what the command then returns.
    """

    exit_code = 1


class ConfigError(IaptError, ValueError):
    """A setting is wrong; the message names the field, the value and what is allowed."""

    exit_code = 2


class DataError(IaptError, ValueError):
    """A data set, split or row is missing or malformed."""


class BackboneError(IaptError, RuntimeError):
    """A backbone cannot be loaded, or lacks what a method needs."""


class AdapterError(IaptError, ValueError):
    """A saved adapter does not fit, or its method cannot do what was asked; the message says which."""


class TrainingError(IaptError, RuntimeError):
    """Training cannot continue."""


class MetricError(IaptError, ValueError):
    """A metric received inputs that it cannot score."""


class BusyError(IaptError, RuntimeError):
    """Another process works on this run; the message names it."""


class IncompleteError(IaptError, RuntimeError):
    """A grid is not finished; the message says what is left."""

    exit_code = 3


class StorageError(IaptError, OSError):
    """A file cannot be written; the message names it and the reason."""


class JudgeError(IaptError, RuntimeError):
    """The judge endpoint failed for good."""


def closest(value: str, allowed: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the nearest allowed spelling, or an empty string."""
    match = difflib.get_close_matches(value, list(allowed), n=1, cutoff=0.5)
    return f" Did you mean '{match[0]}'?" if match else ""


def without_passwords(text: str) -> str:
    """Return a message with user and password masked as `***` in every URL (`http://user:pw@host`).

    A path made of a URL has a single slash.
    """
    return re.sub(r"(://|https?:/(?!/))\S*@", r"\1***@", text)


def printable(text: str) -> str:
    """Return a text with control, format and surrogate characters as U+FFFD, but for line breaks and tabs.

    What comes from a file, a path or a model may hold what a terminal obeys, or what turns the direction of reading.
    """
    return "".join(
        "\ufffd"
        if unicodedata.category(letter) in {"Cc", "Cf", "Cs"} and letter not in "\n\t"
        else letter
        for letter in text
    )


def say(kind: str, text: object) -> None:
    """Print a message to the user on standard error: printable, without passwords, cut if it has no end.

    Args:
        kind: what it begins with: error, warning or note.
        text: the message, or an exception.
    """
    lines = [line[:LETTERS] for line in printable(without_passwords(str(text))).splitlines()]
    more = [f"and {len(lines) - LINES} more."] if len(lines) > LINES else []
    print(f"{kind}: " + "\n".join([*lines[:LINES], *more]), file=sys.stderr, flush=True)
