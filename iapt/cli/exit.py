"""How a command ends: help, version, or its work, with one line for an error and the exit code."""

import errno
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from iapt import __version__
from iapt.configuration.catalog import hydra_message
from iapt.errors import ConfigError, IaptError, without_passwords
from iapt.interruption import Interrupted, interruptible

LINES, LETTERS = 20, 1500  # of one error, which has a line for each wrong field, and of a line
HELP = {"-h", "--help", "help"}


def answer(
    name: str, words: Sequence[str], page: Callable[[], str], run: Callable[[], None]
) -> int:
    """Answer `--help` and `--version`, or run; returns the exit code (see `guarded`)."""
    if HELP & set(words):
        return guarded(lambda: print(page(), end=""))
    if "--version" in words:
        return guarded(lambda: print(f"{name} {__version__}"))
    return guarded(lambda: _loadable(run))


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
    try:
        with interruptible():
            command()
        sys.stdout.flush()
    except BrokenPipeError:  # piped into head; keep Python from writing again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except IaptError as error:
        lines = [line[:LETTERS] for line in without_passwords(str(error)).splitlines()]
        more = [f"and {len(lines) - LINES} more."] if len(lines) > LINES else []
        print("error: " + "\n".join([*lines[:LINES], *more]), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt as error:
        signal = f" by {error}" if isinstance(error, Interrupted) else ""
        print(
            f"interrupted{signal}; the same command resumes at the last checkpoint.",
            file=sys.stderr,
        )
        return error.exit_code if isinstance(error, Interrupted) else 130
    except OSError as error:  # of a name too long for a file, or a working folder that is gone
        where = str(error.filename)[:200] if error.filename else ""
        # For a file, the error is a StorageError with its name; one without a name is the standard output's.
        if not where and error.errno in (errno.ENOSPC, errno.EIO):
            where = "standard output"
        print(f"error: {where}{': ' * bool(where)}{error.strerror or error}.", file=sys.stderr)
        return 1
    except Exception as error:
        # Hydra and OmegaConf explain what is wrong with an override or an interpolation.
        if type(error).__module__.split(".")[0] not in ("hydra", "omegaconf"):
            raise
        print(f"error: {without_passwords(hydra_message(error))}.", file=sys.stderr)
        return 2
    return 0


def _loadable(run: Callable[[], None]) -> None:
    """Run where torch and numpy load; without a working folder, or with a time that is none, they do not.

    Raises:
        ConfigError: the working folder was deleted, or SOURCE_DATE_EPOCH is not a number.
    """
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
