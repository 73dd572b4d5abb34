"""Readers of the values on a command line: text -> value, or a ValueError that says what is allowed."""

import math
from collections.abc import Callable
from typing import Any

from iapt.errors import closest

Read = Callable[[str], Any]

MOST = 10**9 - 1


def whole(least: int = 0, most: int = MOST) -> Read:
    """Return a reader of whole numbers from `least` to `most`."""

    def read(text: str) -> int:
        digits = text.isascii() and text.isdigit() and len(text) <= len(str(MOST))
        if not (digits and least <= int(text) <= most):
            raise ValueError(f"a whole number {_range(text, least, most)}")
        return int(text)

    return read


def number(least: float = 0.0, most: float = math.inf) -> Read:
    """Return a reader of finite numbers from `least` to `most`."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and least <= value <= most):
            limit = "" if most == math.inf else f" and <= {most:g}"
            raise ValueError(f"a number >= {least:g}{limit}")
        return value

    return read


def boolean(text: str) -> bool:
    """Read `true` or `false`."""
    if text.lower() not in ("true", "false"):
        raise ValueError("true or false")
    return text.lower() == "true"


def one_of(*allowed: str) -> Read:
    """Return a reader of one of these words."""

    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"one of {', '.join(allowed)}.{closest(text, allowed)}".rstrip("."))
        return text

    return read


def some_of(*allowed: str) -> Read:
    """Return a reader of comma-separated words; without arguments any word is allowed."""

    def read(text: str) -> tuple[str, ...]:
        return tuple(one_of(*allowed)(t) if allowed else t for t in text.split(","))

    return read


def listed(text: str) -> tuple[str, ...]:
    """Read texts separated by commas, as they are or as Hydra writes a list: `a,b`, `[a, 'b']`; none in `null`."""
    inner = "" if text == "null" else text.strip().strip("[]")
    return tuple(part.strip(" '\"") for part in inner.split(",")) if inner.strip() else ()


def numbers(least: int = 0, most: int = MOST) -> Read:
    """Return a reader of comma-separated whole numbers from `least` to `most`."""

    def read(text: str) -> tuple[int, ...]:
        try:
            return tuple(map(whole(least, most), text.split(",")))
        except ValueError as error:
            allowed = _range(max(text.split(","), key=len), least, most)
            raise ValueError(f"whole numbers {allowed}, separated by commas") from error

    return read


def _range(text: str, least: int, most: int) -> str:
    """Return what is allowed; the limit of all numbers is mentioned only to whom it stopped."""
    long = len(text) > len(str(MOST))
    return f"from {least} to {most:,}" if long or most < MOST else f">= {least}"


def or_null(read: Read) -> Read:
    """Return a reader that also takes `null` (or `none`) for None."""
    return lambda text: None if text.lower() in ("null", "none") else read(text)
