"""The command line of every command that does not hand its words to Hydra: `name name key=value key=value`.

A command declares its words once; parsing, checking, `--help`, `--version` and the exit code follow
from the declaration.  Nothing heavy is imported here, because `--help` must answer at once.
"""

import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from iapt.cli.exit import answer
from iapt.cli.readers import Read, listed
from iapt.configuration.catalog import CONFIG_DIR
from iapt.errors import ConfigError, closest
from iapt.files import expanded

FLAG = "--config-dir"


@dataclass(frozen=True)
class Key:
    """One `key=value` word.

    Attributes:
        name: the key.
        about: what it does, for `--help`.
        default: the value when the word is absent.
        read: text -> value; raises ValueError saying what is allowed ("a whole number >= 1").
        shown: the value in `--help`, such as `FOLDER`; the default value unless given.
    """

    name: str
    about: str
    default: Any = None
    read: Read = str
    shown: str = ""


@dataclass(frozen=True)
class Words:
    """A checked command line.

    Attributes:
        names: the words without `=`, in order.
        values: the value of every declared key, given or default.
        given: the keys on the command line.
        others: words of `iapt-train`, for a command that takes them too.
        flags: the flags on the command line.
    """

    names: tuple[str, ...]
    values: Mapping[str, Any]
    given: frozenset[str]
    others: tuple[str, ...] = ()
    flags: frozenset[str] = frozenset()

    def __getitem__(self, key: str) -> Any:
        return self.values[key]

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders of `--config-dir`."""
        return tuple(self.values.get(FLAG, ()))

    def overrides(self, *words: str) -> list[str]:
        """Return words as `iapt-train` takes them, with this line's `--config-dir` and `plugins=`."""
        plugins = ",".join(self.values.get("plugins") or ())
        return [
            *(f"{FLAG}={folder}" for folder in self.folders),
            *([f"plugins={plugins}"] if plugins else []),
            *self.others,
            *words,
        ]


@dataclass(frozen=True)
class Command:
    """What a command takes.

    Attributes:
        name: as typed, `iapt-table`.
        usage: what follows it, `NAME [NAME ...] [key=value ...]`.
        purpose: one or two sentences.
        names: the allowed words without `=`, and what each does; None allows any (folders, texts).
        at_least: the fewest such words.
        at_most: the most such words; None for no limit.
        keys: its `key=value` words.
        notes: further paragraphs of `--help`, such as examples.
        takes_others: any other word belongs to `iapt-train` and is passed on.
        flags: words such as `--json`, and what each does; `Words.flags` has those given.
    """

    name: str
    usage: str
    purpose: str
    names: Mapping[str, str] | None = None
    at_least: int = 0
    at_most: int | None = None
    keys: Sequence[Key] = ()
    notes: str = ""
    takes_others: bool = False
    flags: Mapping[str, str] = field(default_factory=dict)

    def help(self) -> str:
        """The page that `--help` prints."""
        parts = [f"Usage: {self.name} {self.usage}".rstrip(), "", *textwrap.wrap(self.purpose, 100)]
        if self.names:
            parts += ["", "Names:", *_columns(self.names.items())]
        if self.keys:
            rows = [(f"{k.name}={k.shown or _text(k.default)}", k.about) for k in self.keys]
            parts += ["", "Keys:", *_columns(rows)]
        if self.flags:
            parts += ["", "Flags:", *_columns(self.flags.items())]
        return "\n".join([*parts, *(["", self.notes.strip("\n")] if self.notes else [])]) + "\n"

    def parse(self, arguments: Sequence[str]) -> Words:
        """Check a command line.

        Raises:
            ConfigError: an unknown name or key, a key given twice or without a value, a value that is not
                allowed, too few or too many names.
        """
        keys = {key.name: key for key in self.keys}
        names: list[str] = []
        others: list[str] = []
        given: dict[str, Any] = {}
        flags: set[str] = set()
        if FLAG in keys:
            folders, arguments = config_dirs(arguments)
            given |= {FLAG: folders} if folders else {}
        for argument in arguments:
            key, equals, text = argument.partition("=")
            if argument in self.flags:
                flags.add(argument)
            elif self.takes_others and key not in keys:
                others.append(argument)
            elif argument.startswith("-"):
                raise ConfigError(f"{argument}: no such flag; {self.name} --help lists the flags.")
            elif not equals or (key not in keys and not self.names and not key.isidentifier()):
                names.append(self._name(argument))
            elif key not in keys:
                allowed = ", ".join(keys) or "none"
                hint = closest(key, keys)
                if key.upper() in self.usage.split():
                    hint = f" Write the value alone: {self.name} {self.usage}."
                raise ConfigError(f"{argument}: unknown key {key!r}; allowed are {allowed}.{hint}")
            elif key in given:
                raise ConfigError(f"{key}: given twice ({argument} is the second); give it once.")
            elif not text:
                raise ConfigError(f"{key}=: no value; write {key}=VALUE, or omit it.")
            else:
                try:
                    given[key] = keys[key].read(text)
                except ConfigError as error:
                    raise ConfigError(f"{key}={error}") from error
                except ValueError as error:
                    raise ConfigError(f"{key}={text}: must be {error}.") from error
        if len(names) < self.at_least or (self.at_most is not None and len(names) > self.at_most):
            raise ConfigError(
                f"{' '.join(names) or 'nothing'}: {self.name} takes {self.usage}; {self.name} --help explains."
            )
        defaults = {key.name: key.default for key in self.keys}
        return Words(
            tuple(dict.fromkeys(names) if self.names else names),
            defaults | given,
            frozenset(given),
            tuple(others),
            frozenset(flags),
        )

    def main(self, run: Callable[[Words], None], arguments: Sequence[str] | None = None) -> int:
        """Answer `--help` and `--version`, or parse and run; returns the exit code (see `guarded`)."""
        words = list(sys.argv[1:] if arguments is None else arguments)
        asked = ["--help"] if not words and self.at_least else words
        return answer(self.name, asked, self.help, lambda: run(self.parse(words)))

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
        verbs: first word -> what it takes, and the function that carries it out.
    """

    name: str
    purpose: str
    verbs: Mapping[str, tuple[Command, Callable[[Words], None]]]

    def help(self) -> str:
        """The page that `--help` prints."""
        lines = [f"Usage: {self.name} COMMAND ...", "", *textwrap.wrap(self.purpose, 100), ""]
        rows = [(f"{verb} {command.usage}", command.purpose) for verb, (command, _) in self.verbs.items()]  # fmt: skip
        lines += [
            "Commands:",
            *_columns(rows),
            "",
            f"`{self.name} COMMAND --help` explains a command.",
        ]
        return "\n".join(lines) + "\n"

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """Hand the other words to the command that the first one names; returns the exit code."""
        verb, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
        if verb in self.verbs:
            command, run = self.verbs[verb]
            return command.main(run, rest)
        return answer(self.name, [verb], self.help, lambda: self._unknown(verb))

    def _unknown(self, verb: str) -> None:
        known = ", ".join(self.verbs)
        raise ConfigError(
            f"{self.name} {verb}: unknown command; allowed are {known}.{closest(verb, self.verbs)}"
        )


def config_dirs(words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Take `--config-dir DIR` (also `-cd DIR`, `--config-dir=DIR`) out of a command line.

    Returns:
        The folders as absolute paths, and the other words.

    Raises:
        ConfigError: a flag without a folder.
    """
    folders, rest, given = [], [], iter(words)
    for word in given:
        flag, equals, value = word.partition("=")
        if flag not in (FLAG, "-cd"):
            rest.append(word)
            continue
        value = value if equals else next(given, "")
        if not value:
            raise ConfigError(f"{word}: no folder; write {FLAG} DIR.")
        folders.append(expanded(value).resolve())
    return list(dict.fromkeys(f for f in folders if f != CONFIG_DIR)), rest


# Every command that takes the user's own entries declares these two keys.
OWN_ENTRIES = (
    Key(FLAG, "a folder with your own entries, such as method/NAME.yaml", (), shown="FOLDER"),
    Key("plugins", "the modules that these entries name", (), listed, "a,b"),
)


def hanging(head: str, about: str, width: int) -> list[str]:
    """Wrap a description beside its head, further lines indented."""
    first, *more = textwrap.wrap(about, width - len(head)) or [""]
    return [(head + first).rstrip(), *(" " * len(head) + line for line in more)]


def _columns(rows: Iterable[tuple[str, str]]) -> list[str]:
    lines = []
    for left, about in rows:
        head = f"  {left:<20} "
        if len(head) > 23:
            lines.append(head.rstrip())
            head = " " * 23
        lines += hanging(head, about, 101)
    return lines


def _text(default: Any) -> str:
    if default is None or default == "":
        return "..."
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, (list, tuple)):
        return ",".join(map(str, default))
    return f"{default:g}" if isinstance(default, float) else str(default)
