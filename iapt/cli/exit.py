"""How a command ends: help, version, or its work, with one line for an error and the exit code."""

import os
import sys
from collections.abc import Callable, Sequence

from iapt import __version__
from iapt.errors import IaptError, without_passwords
from iapt.interruption import Interrupted, interruptible

HELP = {"-h", "--help", "help"}


def answer(
    name: str, words: Sequence[str], page: Callable[[], str], run: Callable[[], None]
) -> int:
    """Answer `--help` and `--version`, or run; returns the exit code (see `guarded`)."""
    if HELP & set(words):
        return guarded(lambda: print(page(), end=""))
    if "--version" in words:
        return guarded(lambda: print(f"{name} {__version__}"))
    return guarded(run)


def guarded(command: Callable[[], None]) -> int:
    """Run a command; an `IaptError` becomes one message without a traceback.

    Returns:
        The exit code: 0, 1 for a failure, 2 for a wrong word or setting, 3 if a grid is not
        finished, 128 + its number after a signal (SIGINT 130, SIGTERM 143, SIGHUP 129).
    """
    if hasattr(sys.stdout, "reconfigure"):  # a terminal without the character shows a question mark
        sys.stdout.reconfigure(errors="replace")
    try:
        with interruptible():
            command()
        if sys.stdout is not None:  # None: it was closed before the start
            sys.stdout.flush()
    except BrokenPipeError:  # piped into head; keep Python from writing again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except IaptError as error:
        print(f"error: {without_passwords(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt as error:
        signal = f" by {error}" if isinstance(error, Interrupted) else ""
        print(
            f"interrupted{signal}; the same command resumes at the last checkpoint.",
            file=sys.stderr,
        )
        return error.exit_code if isinstance(error, Interrupted) else 130
    except OSError as error:  # of a name too long for a file, or a working folder that is gone
        where = f"{str(error.filename)[:200]}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}.", file=sys.stderr)
        return 1
    except Exception as error:
        # Hydra and OmegaConf explain what is wrong with an override or an interpolation.
        if type(error).__module__.split(".")[0] not in ("hydra", "omegaconf"):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
