"""Every error this package raises on purpose.

IaptError
├── ConfigError    a setting is wrong; found before any model is loaded
├── DataError      a data file or split is missing, malformed or too small
├── BackboneError  a checkpoint cannot be loaded or does not do what is asked of it
├── AdapterError   a saved adapter does not fit, or a method cannot do what is asked
├── TrainingError  training cannot go on (a non-finite loss, a broken checkpoint)
├── MetricError    a metric was called with inputs that cannot be scored
├── StorageError   a file cannot be written (a full disk, a folder without permission)
└── JudgeError     the judge endpoint failed for good
"""

import difflib
import re
from collections.abc import Iterable


class IaptError(Exception):
    """Base class: a message meant for the user, printed without a traceback by the commands."""


class ConfigError(IaptError, ValueError):
    """A setting is wrong; the message names the field, the value and what is allowed."""


class DataError(IaptError, ValueError):
    """A data set, split or row is missing or malformed."""


class BackboneError(IaptError, RuntimeError):
    """A backbone cannot be loaded, or lacks what a method asks of it."""


class AdapterError(IaptError, ValueError):
    """A saved adapter does not fit, or a method cannot do what was asked (named in the message)."""


class TrainingError(IaptError, RuntimeError):
    """Training cannot go on."""


class MetricError(IaptError, ValueError):
    """A metric got inputs that cannot be scored."""


class StorageError(IaptError, OSError):
    """A file cannot be written; the message names it and why."""


class JudgeError(IaptError, RuntimeError):
    """The judge endpoint failed for good."""


def closest(value: str, allowed: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the nearest allowed spelling, or an empty string."""
    match = difflib.get_close_matches(value, list(allowed), n=1, cutoff=0.5)
    return f" Did you mean '{match[0]}'?" if match else ""


def without_passwords(text: str) -> str:
    """Return a message with user and password of every address in it (`http://user:pw@host`) made `***`."""
    return re.sub(r"(?<=://)\S*@", "***@", text)
