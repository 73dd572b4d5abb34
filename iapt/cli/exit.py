"""How a command ends: help, version, or its work, with one line for an error and the exit code."""

import errno
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, TextIO

from iapt import __version__
from iapt.configuration.catalog import hydra_message
from iapt.errors import ConfigError, IaptError, printable, say
from iapt.interruption import Interrupted, interruptible

MARKS = re.compile(r"(\x1b\[[014]m)")  # bold, underlined and plain, as tables are printed
HELP = {"-h", "--help", "help"}


class Terminal:
    """Standard output on a terminal, which would obey control characters in rows, answers and names of files.

    Args:
        stream: where the text goes, with all but our own marks made printable.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text."""
        parts = MARKS.split(text)  # every second one is a mark
        return self._stream.write(
            "".join(p if i % 2 else printable(p) for i, p in enumerate(parts))
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def answer(
    name: str, words: Sequence[str], page: Callable[[], str], run: Callable[[], None]
) -> int:
    """Answer `--help` and `--version`, or run; returns the exit code (see `guarded`)."""
    if HELP & set(words):
        return guarded(lambda: print(page(), end=""))
    if "--version" in words:
        return guarded(lambda: print(f"{name} {__version__}"))
    return guarded(lambda: _run(words, run))


def guarded(command: Callable[[], None]) -> int:
    """Run a command; an `IaptError` becomes one message without a traceback.

    Returns:
        The exit code: 0, 1 for a failure, 2 for a wrong argument or setting, 3 if a grid is not
        finished, 128 + its number after a signal (SIGINT 130, SIGTERM 143, SIGHUP 129, SIGUSR2 140).
    """
    if sys.stdout is None:  # closed before the start
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # libraries ask it what it is
    if hasattr(sys.stdout, "reconfigure"):  # a terminal without the character shows a question mark
        sys.stdout.reconfigure(errors="replace")
    shown: Any = Terminal(sys.stdout) if sys.stdout.isatty() else sys.stdout
    try:
        with interruptible(), redirect_stdout(shown):
            command()
        sys.stdout.flush()
    except BrokenPipeError:  # piped into head; keep Python from writing again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except IaptError as error:
        say("error", error)
        return error.exit_code
    except KeyboardInterrupt as error:
        signal = f" by {error}" if isinstance(error, Interrupted) else ""
        print(f"interrupted{signal}; repeat the command to go on.", file=sys.stderr)
        return error.exit_code if isinstance(error, Interrupted) else 130
    except OSError as error:  # of a name too long for a file, or a working folder that is gone
        where = str(error.filename)[:200] if error.filename else ""
        # For a file, the error is a StorageError with its name; one without a name is the standard output's.
        if not where and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            where = "standard output"
        say("error", f"{where}{': ' * bool(where)}{error.strerror or error}.")
        return 1
    except MemoryError:
        say("error", "there is not enough memory for what was asked, or for a file that was read.")
        return 1
    except Exception as error:
        # Hydra and OmegaConf explain what is wrong with an override or an interpolation.
        if type(error).__module__.split(".")[0] not in ("hydra", "omegaconf"):
            raise
        say("error", f"{hydra_message(error)}.")
        return 2
    return 0


def _run(words: Sequence[str], run: Callable[[], None]) -> None:
    """Run where torch and numpy load; without a working folder, or with a time that is none, they do not.

    Raises:
        ConfigError: the working folder was deleted, SOURCE_DATE_EPOCH is not a number, or a word is not text.
    """
    if broken := [word for word in words if re.search("[\ud800-\udfff]", word)]:
        raise ConfigError(
            f"argument {broken[0]!r}: not UTF-8 text, which no configuration or row can hold; give another name."
        )
    try:
        Path.cwd()
    except FileNotFoundError as error:
        gone = os.environ.get("PWD", "the working folder")
        raise ConfigError(f"{gone}: the working folder was deleted; cd to another.") from error
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "0")
    try:
        int(epoch)
    except ValueError as error:
        raise ConfigError(
            f"SOURCE_DATE_EPOCH={epoch!r}: must be a whole number of seconds; set one, or unset it."
        ) from error
    run()
