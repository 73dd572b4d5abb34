"""From a user's `key=value` words to Hydra's overrides: `prepare`, and the entries that the words may choose.

Nothing heavy is imported at the top, because `--help` must answer at once.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from iapt.cli.command import config_dirs
from iapt.cli.readers import listed
from iapt.configuration.catalog import CONFIG_DIR as CONFIG_DIR
from iapt.configuration.catalog import LARGEST, read_entry
from iapt.errors import ConfigError, closest
from iapt.files import expanded, read_text

YAML = (".yaml", ".yml")
# Groups of which no entry is the default, so that Hydra requires a plus; the later one wins.
CHOOSING = ("experiment", "scale")


def groups(folders: Sequence[Path] = ()) -> dict[str, list[str]]:
    """Return the configuration groups with the names of their entries.

    Args:
        folders: the folders of `--config-dir`, with the same subfolders as `configs/`.

    Raises:
        ConfigError: a folder has none of the groups, or an entry whose name is taken.
    """
    found = {p.name: _entries(p) for p in sorted(CONFIG_DIR.iterdir()) if p.is_dir()}
    for folder in folders:
        if not any((folder / group).is_dir() for group in found):
            wrong = (
                "has none of the subfolders" if folder.is_dir() else "is not a folder with some of"
            )
            raise ConfigError(
                f"--config-dir {folder}: {wrong} {', '.join(found)}; a method belongs in "
                f"{folder / 'method'}/<name>.yaml."
            )
        for group, entries in found.items():
            more = _entries(folder / group) if (folder / group).is_dir() else []
            for entry in more:
                _refuse_taken(group, folder / group / f"{entry}.yaml", entries)
            found[group] = sorted({*entries, *more})
    return found


def summary(group: str, entry: str, folders: Sequence[Path] = ()) -> str:
    """Return the comment at the top of an entry, up to the first line that ends a sentence."""
    files = [folder / group / f"{entry}.yaml" for folder in (CONFIG_DIR, *folders)]
    file = next(f for f in files if f.is_file())
    words: list[str] = []
    for line in read_text(file, LARGEST).splitlines():
        if not re.match(r"# ?\S", line):  # the comment's end, or a command in it
            break
        if "@package" not in line:
            words.append(line.lstrip("# ").rstrip())
            if line.rstrip().endswith((".", ":")):
                break
    return " ".join(words)


def split_argument(argument: str) -> tuple[str, str | None]:
    """Split `+key=value` into ("key", "value"); a word without `=` has value None."""
    key, equals, value = argument.partition("=")
    return key.lstrip("+~"), value if equals else None


def prepare(words: Sequence[str]) -> list[str]:
    """Turn a user's words into Hydra's overrides.

    `data=<path>` becomes a folder source; `task=<path>.yaml` and the files of `--config-dir DIR` become
    entries of their groups; `plugins=` becomes the files of the modules that it names.

    Raises:
        ConfigError: a word is not key=value, a group has no such entry, or a key is given twice.
    """
    folders, words = config_dirs(words)
    known, broken = add_entries(folders)
    prepared = list[str]()
    seen: dict[str, str] = {}
    for word in words:
        key, value = split_argument(word)
        if word.startswith("-"):
            raise ConfigError(f"{word}: no such flag; --help lists the flags.")
        if word.startswith("~"):
            raise ConfigError(
                f"{word}: a run needs every setting; omit this argument to get the default of {key}, or "
                f"give {key}=VALUE."
            )
        if value is None:
            raise ConfigError(
                f"argument {word!r}: expected key=value, such as task=boolq.{closest(key, known)}"
            )
        if value == "{}":
            raise ConfigError(
                f"{word}: changes nothing, because a mapping on the command line is merged into the entry's; give "
                f"{key}.<key>=VALUE for each value to change."
            )
        if key in seen:
            raise ConfigError(f"{key}: given twice ({seen[key]} and {word}); give it once.")
        if key == "hydra.searchpath":
            raise ConfigError(f"{word}: give further folders of entries with --config-dir DIR.")
        seen[key] = word
        if key == "plugins":
            files = plugin_files(listed(value), folders)
            prepared += [f"plugins=[{','.join(map(quoted, files))}]"] if files else []
        elif key == "data" and _is_path(value, known["data"]):
            prepared += ["data=folder", f"data.path={quoted(value)}"]
        elif key in known:
            chosen = [_choice(key, v, known[key], folders) for v in value.split(",")]
            for fault in [broken[key, entry] for entry in chosen if (key, entry) in broken]:
                raise ConfigError(fault)
            prepared.append(
                f"{'+' if key in CHOOSING else ''}{key}={','.join(map(quoted, chosen))}"
            )
        else:
            prepared.append(word)
    return sorted(prepared, key=lambda word: word.startswith("+scale="))


def refuse_grid(words: Sequence[str]) -> None:
    """Refuse a word with several values, where one run takes one.

    Raises:
        ConfigError: naming the command that takes several.
    """
    for word in words:
        key, value = split_argument(word)
        if value and "," in value and value[0] not in "[{('\"" and key != "plugins":
            raise ConfigError(
                f"{word}: one run takes one value; iapt-sweep takes several and runs them all."
            )


def add_entries(
    folders: Sequence[Path],
) -> tuple[dict[str, list[str]], dict[tuple[str, str], str]]:
    """Register the entries of `--config-dir` folders with Hydra.

    Returns:
        All groups with their entries; and of each file that is no YAML mapping its group and entry, and the fault,
        which matters only to those who choose it.

    Raises:
        ConfigError: as `groups`.
    """
    known, broken = groups(folders), dict[tuple[str, str], str]()
    # A Hydra search path would turn every other subfolder into a group too.
    for folder in folders:
        for group in known:
            for file in sorted((folder / group).glob("*.yaml")):
                try:
                    _register(group, file)
                except ConfigError as error:
                    broken[group, file.stem] = str(error)
    return known, broken


def entry_or_file(group: str, name: str, folders: Sequence[Path]) -> str:
    """Return the file of an entry that lies in a `--config-dir` folder, and any other name unchanged.

    Raises:
        ConfigError: as `groups`.
    """
    groups(folders)
    files = (folder / group / f"{name}.yaml" for folder in folders)
    return next((str(file) for file in files if file.is_file()), name)


def plugin_files(names: Sequence[str], folders: Sequence[Path] = ()) -> list[str]:
    """Return the paths of the user's modules: a .py file each, or the folder of a package.

    Raises:
        ConfigError: there is no such module, or a folder has none of the groups.
    """
    from iapt.configuration.plugins import Plugins

    groups(folders)  # refuses a folder that has none
    files = Plugins.find(names, folders).files.values()
    return [str(file.parent if file.name == "__init__.py" else file) for file in files]


def quoted(text: str) -> str:
    """Return a text as Hydra's grammar accepts it, quoted if needed, also where it would be read as another value."""
    number_or_such = re.match(r"[\d+-]|\.\d|(null|true|false|nan|inf)$", text, re.IGNORECASE)
    if re.fullmatch(r"[\w./:+-]+", text, re.ASCII) and not number_or_such:
        return text
    # A backslash escapes only a quote, so it is doubled only before one.
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", text)
    return "'" + re.sub(r"(\\+)$", r"\1\1", escaped) + "'"


def _entries(folder: Path) -> list[str]:
    return sorted(p.stem for p in folder.glob("*.yaml"))


def _choice(group: str, value: str, known: Sequence[str], folders: Sequence[Path]) -> str:
    """Return one choice of a group by its name in Hydra; the user's own file is registered first."""
    if value.endswith(YAML):
        file = expanded(value).resolve()
        if file.parent not in [folder / group for folder in folders]:
            _refuse_taken(group, file, known)
            _register(group, file, value)
        return file.stem
    if value not in known:
        hint = " The name of a file ends in .yaml." if "/" in value else ""
        raise ConfigError(
            f"{group}={value}: there is no such {group}; there are {', '.join(known)}."
            f"{closest(value, known)}{hint}"
        )
    return value


def _register(group: str, file: Path, given: str | None = None) -> None:
    """Make a file outside the configuration folder an entry of Hydra's; errors call it `given`."""
    from hydra.core.config_store import ConfigStore

    text, node = read_entry(file, f"{group}={given or file}")
    package = re.search(r"^#\s*@package\s+(\S+)", text, re.MULTILINE)
    ConfigStore.instance().store(
        group=group, name=file.stem, node=node, package=package[1] if package else None
    )


def _refuse_taken(group: str, file: Path, known: Sequence[str]) -> None:
    if file.stem in known:
        raise ConfigError(
            f"{file}: there is already a {group} {file.stem!r}; rename the file, so that result rows can tell "
            "the two apart."
        )


def _is_path(value: str, entries: Sequence[str]) -> bool:
    return (
        value not in entries
        and "," not in value
        and not value.endswith(YAML)
        and ("/" in value or value.startswith(("~", ".")) or Path(value).is_dir())
    )
