"""How the commands that are not Hydra's read their words: `name name key=value key=value`.

A command declares its words once; parsing, checking, `--help`, `--version` and the exit code follow
from the declaration.  Nothing heavy is imported here: `--help` must answer at once.
"""

import math
import os
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from iapt import __version__
from iapt.errors import ConfigError, IaptError, closest, without_passwords

Read = Callable[[str], Any]


@dataclass(frozen=True)
class Key:
    """One `key=value` word.

    Attributes:
        name: the key.
        about: what it does, for `--help`.
        default: the value when the word is not given.
        read: text -> value; raises ValueError with what is allowed ("a whole number from 1").
        shown: the value part in `--help`, such as `FOLDER`; the default by default.
    """

    name: str
    about: str
    default: Any = None
    read: Read = str
    shown: str = ""


@dataclass(frozen=True)
class Words:
    """A command line, checked.

    Attributes:
        names: the words without `=`, in order.
        values: every declared key, given or default.
        given: keys that stood on the command line.
    """

    names: tuple[str, ...]
    values: Mapping[str, Any]
    given: frozenset[str]

    def __getitem__(self, key: str) -> Any:
        return self.values[key]


@dataclass(frozen=True)
class Command:
    """What a command takes.

    Attributes:
        name: as typed, `iapt-table`.
        usage: what follows it, `NAME [NAME ...] [key=value ...]`.
        purpose: one or two sentences.
        names: the words that may stand without `=`, and what each does; empty allows any (folders, texts).
        at_least: how many of them there must be, and `at_most` how many there may be (None: any number).
        keys: its `key=value` words.
        notes: further paragraphs of `--help`: examples, what comes out.
    """

    name: str
    usage: str
    purpose: str
    names: Mapping[str, str] | None = None
    at_least: int = 0
    at_most: int | None = None
    keys: Sequence[Key] = ()
    notes: str = ""

    def help(self) -> str:
        """The page that `--help` prints."""
        parts = [f"Usage: {self.name} {self.usage}".rstrip(), "", *textwrap.wrap(self.purpose, 100)]
        if self.names:
            parts += ["", "Names:", *_columns(self.names.items())]
        if self.keys:
            rows = [(f"{k.name}={k.shown or _text(k.default)}", k.about) for k in self.keys]
            parts += ["", "Keys:", *_columns(rows)]
        return "\n".join([*parts, *(["", self.notes.strip("\n")] if self.notes else [])]) + "\n"

    def parse(self, arguments: Sequence[str]) -> Words:
        """Check a command line.

        Raises:
            ConfigError: an unknown name or key, a key given twice or without a value, a value that is not
                allowed, too few or too many names.
        """
        keys = {key.name: key for key in self.keys}
        names: list[str] = []
        given: dict[str, Any] = {}
        for argument in arguments:
            key, equals, text = argument.partition("=")
            if argument.startswith("-"):
                raise ConfigError(
                    f"{argument}: no such flag; {self.name} --help lists what there is."
                )
            if not equals or (key not in keys and not self.names and not key.isidentifier()):
                names.append(self._name(argument))
            elif key not in keys:
                allowed = ", ".join(keys) or "none"
                raise ConfigError(
                    f"{argument}: unknown key {key!r}; allowed are {allowed}.{closest(key, keys)}"
                )
            elif key in given:
                raise ConfigError(f"{key}: given twice ({argument} is the second); give it once.")
            elif not text:
                raise ConfigError(f"{key}=: no value; write {key}=VALUE, or leave the word out.")
            else:
                try:
                    given[key] = keys[key].read(text)
                except ValueError as error:
                    raise ConfigError(f"{key}={text}: must be {error}.") from error
        if len(names) < self.at_least or (self.at_most is not None and len(names) > self.at_most):
            raise ConfigError(
                f"{self.name}: got {len(names)} of {self.usage}; {self.name} --help explains."
            )
        defaults = {key.name: key.default for key in self.keys}
        return Words(tuple(dict.fromkeys(names)) if self.names else tuple(names), defaults | given,
                     frozenset(given))  # fmt: skip

    def main(self, run: Callable[[Words], None], arguments: Sequence[str] | None = None) -> int:
        """Parse, run, and turn what happens into an exit code: 0, 2 for a wrong word, 1 for a failure."""
        words = list(sys.argv[1:] if arguments is None else arguments)
        if {"-h", "--help", "help"} & set(words) or (not words and self.at_least):
            print(self.help(), end="")
            return 0
        if "--version" in words:
            print(f"{self.name} {__version__}")
            return 0
        return guarded(lambda: run(self.parse(words)))

    def _name(self, word: str) -> str:
        if self.names and word not in self.names:
            known = [*self.names, *(f"{key.name}=" for key in self.keys)]
            raise ConfigError(
                f"{word!r}: unknown name; allowed are {', '.join(self.names)}.{closest(word, known)}"
            )
        return word


@dataclass(frozen=True)
class Commands:
    """A command whose first word says what to do: `iapt-adapter show RUN`.

    Attributes:
        name: as typed.
        purpose: one or two sentences.
        verbs: by first word, what it takes and what carries it out.
        notes: further paragraphs of `--help`.
    """

    name: str
    purpose: str
    verbs: Mapping[str, tuple[Command, Callable[[Words], None]]]
    notes: str = ""

    def help(self) -> str:
        """The page that `--help` prints."""
        lines = [f"Usage: {self.name} COMMAND ...", "", *textwrap.wrap(self.purpose, 100), ""]
        rows = [(f"{verb} {command.usage}", command.purpose) for verb, (command, _) in self.verbs.items()]  # fmt: skip
        lines += ["Commands:", *_columns(rows), "", f"`{self.name} COMMAND --help` says more."]
        return "\n".join([*lines, *(["", self.notes.strip("\n")] if self.notes else [])]) + "\n"

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """Hand the other words to the command that the first one names; returns the exit code."""
        words = list(sys.argv[1:] if arguments is None else arguments)
        verb, rest = (words[0], words[1:]) if words else ("--help", [])
        if verb in ("-h", "--help", "help"):
            print(self.help(), end="")
            return 0
        if verb == "--version":
            print(f"{self.name} {__version__}")
            return 0
        if verb not in self.verbs:
            known = ", ".join(self.verbs)
            print(
                f"error: {self.name} {verb}: unknown command; there are {known}.{closest(verb, self.verbs)}",
                file=sys.stderr,
            )
            return 2
        command, run = self.verbs[verb]
        return command.main(run, rest)


def guarded(command: Callable[[], None]) -> int:
    """Run a command; our own errors become one message without a traceback. Returns the exit code."""
    if hasattr(sys.stdout, "reconfigure"):  # a terminal that has no dash shows a question mark
        sys.stdout.reconfigure(errors="replace")
    try:
        command()
        sys.stdout.flush()
    except BrokenPipeError:  # piped into head; keep Python from writing again when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except IaptError as error:
        print(f"error: {without_passwords(str(error))}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoint.", file=sys.stderr)
        return 130
    except Exception as error:
        # Grammar of overrides, interpolations: Hydra and OmegaConf say what is wrong with a word.
        if type(error).__module__.split(".")[0] not in ("hydra", "omegaconf"):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def whole(least: int = 0) -> Read:
    """A reader of whole numbers from `least` on."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit()) or len(text) > 9 or int(text) < least:
            raise ValueError(f"a whole number from {least}")
        return int(text)

    return read


def number(least: float = 0.0) -> Read:
    """A reader of finite numbers from `least` on."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value >= least):
            raise ValueError(f"a number from {least:g}")
        return value

    return read


def boolean(text: str) -> bool:
    """Read `true` or `false`."""
    if text.lower() not in ("true", "false"):
        raise ValueError("true or false")
    return text.lower() == "true"


def one_of(*allowed: str) -> Read:
    """A reader of one of these words."""

    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"one of {', '.join(allowed)}.{closest(text, allowed)}".rstrip("."))
        return text

    return read


def some_of(*allowed: str) -> Read:
    """A reader of words with commas between; with nothing allowed named, any words."""

    def read(text: str) -> tuple[str, ...]:
        return tuple(one_of(*allowed)(t) if allowed else t for t in text.split(","))

    return read


def or_null(read: Read) -> Read:
    """A reader that also takes `null` (or `none`), as None."""
    return lambda text: None if text.lower() in ("null", "none") else read(text)


def _columns(rows: Any) -> list[str]:
    lines = []
    for left, about in rows:
        wrapped = textwrap.wrap(about, 78) or [""]
        head = f"  {left:<20} "
        if len(head) > 23:
            lines.append(head.rstrip())
            head = " " * 23
        lines += [head + wrapped[0], *(" " * 23 + line for line in wrapped[1:])]
    return [line.rstrip() for line in lines]


def _text(default: Any) -> str:
    if default is None or default == "":
        return "..."
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, (list, tuple)):
        return ",".join(map(str, default))
    return f"{default:g}" if isinstance(default, float) else str(default)
