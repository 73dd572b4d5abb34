"""A command line of `key=value` words: checked, with its nearest right spelling, then composed by Hydra.

`prepare` turns a user's words into Hydra's, `check_keys` finds keys that do not exist, `composed` gives the
values; `from_words` does all three.  Nothing heavy is imported at the top: `--help` must be quick.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iapt.cli.command import (
    guarded as guarded,
)  # the commands that are not Hydra's take it from there
from iapt.configuration.catalog import CONFIG_DIR as CONFIG_DIR
from iapt.configuration.catalog import NAMED
from iapt.errors import ConfigError, closest

if TYPE_CHECKING:
    from omegaconf import DictConfig

YAML = (".yaml", ".yml")


def groups(folders: Sequence[Path] = ()) -> dict[str, list[str]]:
    """Configuration groups and their entries.

    Args:
        folders: further folders with the same sub-folders as `configs/`, from `--config-dir`.

    Raises:
        ConfigError: such a folder has no group, or an entry of a name that is taken.
    """
    found = {p.name: _entries(p) for p in sorted(CONFIG_DIR.iterdir()) if p.is_dir()}
    for folder in folders:
        if not any((folder / group).is_dir() for group in found):
            wrong = "has none of the folders" if folder.is_dir() else "is no folder with some of"
            raise ConfigError(
                f"--config-dir {folder}: {wrong} {', '.join(found)}; a method is described in "
                f"{folder / 'method'}/<name>.yaml."
            )
        for group, entries in found.items():
            more = _entries(folder / group) if (folder / group).is_dir() else []
            for entry in more:
                _refuse_taken(group, folder / group / f"{entry}.yaml", entries)
            found[group] = sorted({*entries, *more})
    return found


def summary(group: str, entry: str, folders: Sequence[Path] = ()) -> str:
    """The first comment line of an entry."""
    files = [folder / group / f"{entry}.yaml" for folder in (CONFIG_DIR, *folders)]
    file = next(f for f in files if f.is_file())
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") and "@package" not in line:
            return line.lstrip("# ").rstrip()
    return ""


def split_argument(argument: str) -> tuple[str, str | None]:
    """`+key=value` -> ("key", "value"); flags and deletions have value None."""
    key, equals, value = argument.partition("=")
    return key.lstrip("+~"), value if equals else None


def config_dirs(words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Take `--config-dir DIR` (also `-cd DIR`, `--config-dir=DIR`) out of a command line.

    Returns:
        The folders, absolute, and the other words.

    Raises:
        ConfigError: a flag without a folder.
    """
    folders, rest, given = [], [], iter(words)
    for word in given:
        flag, equals, value = word.partition("=")
        if flag not in ("--config-dir", "-cd"):
            rest.append(word)
            continue
        value = value if equals else next(given, "")
        if not value:
            raise ConfigError(f"{word}: no folder; write --config-dir DIR.")
        folders.append(Path(value).expanduser().resolve())
    return list(dict.fromkeys(f for f in folders if f != CONFIG_DIR)), rest


def prepare(words: Sequence[str]) -> list[str]:
    """Turn a user's words into Hydra's overrides.

    `data=<path>` becomes a folder source, `task=<path>.yaml` and the files of `--config-dir DIR` entries of
    their groups, and `plugins=` the files of the modules it names.

    Raises:
        ConfigError: a word is not key=value, a group has no such entry, a key stands there twice.
    """
    folders, words = config_dirs(words)
    known, prepared = groups(folders), list[str]()
    # Not as a search path of Hydra's, where every other sub-folder would be a group too.
    for folder in folders:
        for group in known:
            for file in sorted((folder / group).glob("*.yaml")):
                _tell_hydra(group, file)
    seen: dict[str, str] = {}
    for word in words:
        key, value = split_argument(word)
        if word.startswith("-"):
            raise ConfigError(f"{word}: no such flag; --help lists what there is.")
        if word.startswith("~"):
            raise ConfigError(
                f"{word}: a run needs all its settings; leave the word out for the default of {key}, or "
                f"give {key}=VALUE."
            )
        if value is None:
            raise ConfigError(
                f"argument {word!r}: expected key=value, such as task=boolq.{closest(key, known)}"
            )
        if key in seen:
            raise ConfigError(f"{key}: given twice ({seen[key]} and {word}); give it once.")
        if key == "hydra.searchpath":
            raise ConfigError(f"{word}: further folders of entries are given by --config-dir DIR.")
        seen[key] = word
        if key == "plugins":
            prepared += _plugins(value, folders)
        elif key == "data" and _is_path(value, known["data"]):
            prepared += ["data=folder", f"data.path={quoted(value)}"]
        elif key in known:
            chosen = ",".join(_choice(key, v, known[key], folders) for v in value.split(","))
            # An experiment is not part of the defaults, so Hydra wants it added.
            prepared.append(f"{'+' if key == 'experiment' else ''}{key}={chosen}")
        else:
            prepared.append(word)
    return prepared


def refuse_grid(words: Sequence[str]) -> None:
    """Name a word with several values, where one run wants one.

    Raises:
        ConfigError: with the command that takes them.
    """
    for word in words:
        key, value = split_argument(word)
        if value and "," in value and value[0] not in "[{('\"" and key != "plugins":
            raise ConfigError(
                f"{word}: one run takes one value; iapt-sweep takes several and runs them all."
            )


def check_keys(prepared: Sequence[str]) -> None:
    """Compose once for each choice and name every overridden key that does not exist, before Hydra does.

    Raises:
        ConfigError: with the nearest key, and with the choice that lacks it where there are several.
    """
    from omegaconf import OmegaConf

    grid = grid_of(prepared)
    known = groups()
    chosen = {key: words for key, words in grid.items() if key in known}
    made: dict[tuple[str, ...], Any] = {}
    for word in prepared:
        key, value = split_argument(word)
        path = key.split(".")
        if key in chosen or path[0].partition("/")[0] == "hydra" or word.startswith("+"):
            continue
        choices = chosen.get(path[0], [""])
        for choice in choices:
            others = [w[0] for k, w in chosen.items() if k != path[0]]
            words = tuple(filter(None, [*others, choice]))
            node = made[words] = made.get(words) or _composed(words)
            for depth, part in enumerate(path):
                have = sorted(str(k) for k in node) if OmegaConf.is_dict(node) else []
                if part not in have:
                    where = f" in {'.'.join(path[:depth])}" if depth else ""
                    only = f" of {choice}, one of several" if len(choices) > 1 else ""
                    raise ConfigError(
                        f"{key}={value}: unknown key {part!r}{where}{only}; allowed are "
                        f"{', '.join(k for k in have if k != 'hydra') or 'none below this'}."
                        f"{closest(part, have)}"
                    )
                there = OmegaConf.is_missing(node, part) or OmegaConf.is_interpolation(node, part)
                node = None if there else node[part]


def grid_of(prepared: Sequence[str]) -> dict[str, list[str]]:
    """Each key's words, one for each of its values: `seed=0,1` -> {"seed": ["seed=0", "seed=1"]}.

    Raises:
        ConfigError: Hydra cannot read a word.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser, grid = OverridesParser.create(), dict[str, list[str]]()
    for word in prepared:
        try:
            override = parser.parse_override(word)
            key = override.get_key_element()
            values = (
                [str(v) for v in override.sweep_string_iterator()]
                if override.is_discrete_sweep()
                else [word.partition("=")[2]]
            )
        except (
            HydraException,
            ValueError,
        ) as error:  # a number of thousands of digits is the latter
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"argument {word!r}: {reason}; put odd characters in quotes."
            ) from error
        grid[key.lstrip("+")] = [f"{key}={value}" for value in values]
    return grid


def composed(words: Sequence[str], name: str | None = "config") -> dict[str, Any]:
    """Compose the configuration: plain values, everything resolved.

    Args:
        words: overrides in Hydra's words, as `prepare` gives them.
        name: the file to begin with; None begins with nothing.

    Raises:
        ConfigError: a value that must be given is not.
    """
    from omegaconf import open_dict

    config = _composed(tuple(words), name)
    with open_dict(config):
        choices = config.pop("hydra").runtime.choices
    return plain(config, choices)


def from_words(words: Sequence[str]) -> dict[str, Any]:
    """The configuration that a user's words ask for, `--config-dir` and `plugins=` included.

    Raises:
        ConfigError: a word is wrong; see `prepare` and `check_keys`.
    """
    refuse_grid(words)
    prepared = prepare(words)
    check_keys(prepared)
    return composed(prepared)


def plain(config: "DictConfig", choices: Mapping[str, Any]) -> dict[str, Any]:
    """A composed configuration as plain values; an entry without a name is called as its file.

    Args:
        config: what Hydra composed.
        choices: the entry chosen in each group.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import MissingMandatoryValue

    try:
        values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise ConfigError(f"{error.full_key}: missing; give {error.full_key}=VALUE.") from error
    assert isinstance(values, dict)
    for group in NAMED:
        if isinstance(values.get(group), dict) and choices.get(group):
            values[group].setdefault("name", str(choices[group]))
    return {str(key): value for key, value in values.items()}


def quoted(text: str) -> str:
    """A text as Hydra's grammar takes it, in quotes if it must be."""
    if re.fullmatch(r"[\w./:+-]+", text, re.ASCII):
        return text
    # A backslash is an escape before a quote only, so only there it is doubled.
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", text)
    return "'" + re.sub(r"(\\+)$", r"\1\1", escaped) + "'"


def _composed(words: tuple[str, ...], name: str | None = "config") -> "DictConfig":
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        return compose(name, overrides=list(words), return_hydra_config=True)


def _entries(folder: Path) -> list[str]:
    return sorted(p.stem for p in folder.glob("*.yaml"))


def _choice(group: str, value: str, known: Sequence[str], folders: Sequence[Path]) -> str:
    """One choice of a group as Hydra knows it; a file from elsewhere is told to Hydra first."""
    if value.endswith(YAML):
        file = Path(value).expanduser().resolve()
        if file.parent not in [folder / group for folder in folders]:
            _refuse_taken(group, file, known)
            _tell_hydra(group, file, value)
        return file.stem
    if value not in known:
        hint = " A file's name ends in .yaml." if "/" in value else ""
        raise ConfigError(
            f"{group}={value}: there is no such {group}; there are {', '.join(known)}."
            f"{closest(value, known)}{hint}"
        )
    return value


def _tell_hydra(group: str, file: Path, given: str | None = None) -> None:
    """Make an entry of a file that lies outside the configuration folder, called `given` in errors."""
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf
    from yaml import YAMLError

    shown = given or file
    try:
        text = file.read_text(encoding="utf-8")
        node = OmegaConf.create(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{group}={shown}: cannot be read ({error}).") from error
    except YAMLError as error:
        raise ConfigError(f"{group}={shown}: not YAML ({' '.join(str(error).split())}).") from error
    if not OmegaConf.is_dict(node):
        raise ConfigError(f"{group}={shown}: must hold key: value lines.")
    package = re.search(r"^#\s*@package\s+(\S+)", text, re.MULTILINE)
    ConfigStore.instance().store(
        group=group, name=file.stem, node=node, package=package[1] if package else None
    )


def _refuse_taken(group: str, file: Path, known: Sequence[str]) -> None:
    if file.stem in known:
        raise ConfigError(
            f"{file}: there is a {group} {file.stem!r} already; rename the file, so that rows tell the two apart."
        )


def _plugins(value: str, folders: Sequence[Path]) -> Iterator[str]:
    from iapt.configuration.plugins import Plugins

    if value != "null":
        names = [word.strip(" '\"") for word in value.strip("[]").split(",")]
        files = Plugins.find(names, folders).files.values()
        paths = [str(f.parent if f.name == "__init__.py" else f) for f in files]
        yield f"plugins=[{','.join(map(quoted, paths))}]"


def _is_path(value: str, entries: Sequence[str]) -> bool:
    return (
        value not in entries
        and "," not in value
        and not value.endswith(YAML)
        and ("/" in value or value.startswith(("~", ".")) or Path(value).is_dir())
    )
