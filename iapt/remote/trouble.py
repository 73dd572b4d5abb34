"""Libraries' errors as one line of ours, and retries after a wait.

The hub's client, the readers of its files and `transformers` raise some thirty kinds of errors between
them. Here these become a reason and a remedy, so that no caller has to list the kinds and no token or
password in a URL reaches the terminal.
"""

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from typing import Any, TypeVar
from urllib.error import URLError

from iapt.errors import IaptError, printable, without_passwords

T = TypeVar("T")

WAITS = (2.0, 8.0)  # seconds before the second and the third try
LONGEST_WAIT = 60.0  # seconds, whatever a server asks for
REASON = 400  # characters of a library's own message that are shown
NETWORK = "Check the network and HF_ENDPOINT."
CUT_SHORT = "Consistency check failed"  # huggingface_hub has no type of its own for this error
SECRETS = re.compile(r"hf_\w{8,}|(?<=://)[^/@\s]+@|(?<=Bearer )\S+")
AGAIN = "Run the same command again"


class DamagedError(OSError):
    """A file whose content differs from its revision's."""


@contextmanager
def as_ours(
    kind: type[IaptError], what: str, advice: str, link: str | None = None
) -> Iterator[None]:
    """Turn any exception of a library in the block into one of our errors.

    Args:
        kind: the error to raise; our own errors pass through unchanged.
        what: the failed action, as the beginning of a sentence.
        advice: what to do if the error itself gives no hint.
        link: the page where access to a gated repository can be requested.

    Raises:
        IaptError: of the given kind, on one line.
    """
    try:
        yield
    except IaptError:
        raise
    except Exception as error:
        reason, remedy = explained(error, link)
        raise kind(f"{what}: {reason} {remedy or advice}") from error


def explained(error: Exception, link: str | None = None) -> tuple[str, str | None]:
    """Return why something failed, as a sentence, and what to do about it, or None if unknown."""
    kinds = {kind.__name__ for e in _chain(error) for kind in type(e).__mro__}
    status = status_of(error)
    page = f" at {link}" if link else ""
    log_in = "log in with `hf auth login` or set HF_TOKEN"
    if status == 401 and "GatedRepoError" in kinds:
        return (
            "access is restricted and no valid token was sent (HTTP 401).",
            f"Ask for access{page}, then {log_in}.",
        )
    if status == 403:
        return (
            "the login in use has no access (HTTP 403).",
            f"Ask for access{page}, or {log_in} with an account that has it.",
        )
    if "RevisionNotFoundError" in kinds:
        return f"the repository has no such revision (HTTP {status}).", "Correct the revision."
    if "RepositoryNotFoundError" in kinds or status == 401:
        return (
            f"there is no such repository, or this login may not see it (HTTP {status}).",
            f"Check the name{page}; if it is private, {log_in}.",
        )
    if status == 404:
        return "there is no such file (HTTP 404).", None
    if status == 429:
        return "the server asks us to slow down (HTTP 429).", f"{AGAIN} in a few minutes."
    if status is not None and status >= 500:
        return f"the server failed (HTTP {status}) at every try.", f"{AGAIN} later."
    if status is not None:
        return f"the server refused (HTTP {status}).", None
    texts = (e.doc for e in _chain(error) if isinstance(e, json.JSONDecodeError))
    if "FileMetadataError" in kinds or any(text.lstrip().startswith("<") for text in texts):
        page = "a web page came instead of the hub's answer, such as a login page or a proxy's."
        return f"{page} {NETWORK}", None
    if "OfflineModeIsEnabled" not in kinds and _of_the_network(error, kinds):
        return f"the connection failed ({_first_line(_cause(error))}). {NETWORK}", None
    return f"{_first_line(error)}.", None


def patiently(action: Callable[[], T], what: str) -> T:
    """Call an action; while it fails for a temporary reason, wait and call it again, twice at most.

    Args:
        action: what to do.
        what: the repository or file, for a line on stderr before each wait.
    """
    for seconds in WAITS:
        try:
            return action()
        except Exception as error:
            if not passes(error):
                raise
            wait, status = min(max(seconds, _asked_to_wait(error)), LONGEST_WAIT), status_of(error)
            reason = f"HTTP {status}" if status else _first_line(_cause(error))
            line = f"{what}: {reason}; trying again in {wait:.0f} s."
            print(printable(without_passwords(line)), file=sys.stderr, flush=True)
            time.sleep(wait)
    return action()


def passes(error: Exception) -> bool:
    """Return whether another attempt may succeed: the server is busy, the connection broke or bytes were damaged."""
    status = status_of(error)
    if status is not None:
        return status in (408, 429) or status >= 500
    kinds = {kind.__name__ for e in _chain(error) for kind in type(e).__mro__}
    if "OfflineModeIsEnabled" in kinds:
        return False
    inner = error.reason if isinstance(error, URLError) else error
    return (
        isinstance(inner, DamagedError | HTTPException | TimeoutError)
        or (isinstance(inner, ConnectionError) and not isinstance(inner, ConnectionRefusedError))
        or "TransportError" in kinds
        or CUT_SHORT in str(error)
    )


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status behind an error, or None if there is none."""
    for one in _chain(error):
        status = getattr(getattr(one, "response", None), "status_code", getattr(one, "code", None))
        if isinstance(status, int):
            return status
    return None


def _of_the_network(error: Exception, kinds: set[str]) -> bool:
    inner = error.reason if isinstance(error, URLError) else error
    of_a_file = isinstance(inner, FileNotFoundError | PermissionError | IsADirectoryError)
    return (
        isinstance(inner, ConnectionError | TimeoutError | HTTPException)
        or (isinstance(error, URLError) and not of_a_file)
        or "TransportError" in kinds
        or CUT_SHORT in str(error)
    )


def _asked_to_wait(error: BaseException) -> float:
    """Return the seconds in a Retry-After header; 0 without one."""
    for one in _chain(error):
        headers: Any = getattr(getattr(one, "response", one), "headers", {})
        text = headers.get("Retry-After") if hasattr(headers, "get") else None
        if isinstance(text, str) and text.isdecimal():
            return float(text)
    return 0.0


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__


def _cause(error: BaseException) -> BaseException:
    """Return the connection's own error, which the client wraps in others."""
    return next((e for e in _chain(error) if "httpx" in type(e).__module__), error)


def _first_line(error: BaseException) -> str:
    """Return the first non-empty line of a message, without secrets."""
    if isinstance(error, URLError):
        return str(error.reason).partition("] ")[2] or str(error.reason)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(error, OSError) and error.strerror and error.filename:
        lines = [f"{error.filename}: {error.strerror}"]
    text = SECRETS.sub("***", lines[0] if lines else "no message")[:REASON].rstrip(" .:")
    return text if isinstance(error, OSError) else f"{type(error).__name__}: {text}"
