"""What `iapt-train` and `iapt-sweep` share: the flags they take, their `--help`, the call of Hydra."""

import os
import re
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from iapt import __version__
from iapt.cli.command import guarded
from iapt.cli.overrides import CONFIG_DIR, config_dirs, groups, summary
from iapt.configuration.catalog import PACKAGE
from iapt.errors import ConfigError, StorageError, closest

# Hydra's flags that we pass on, each with the values it may have; none: any value; an empty tuple: no value.
SHOWING: dict[str, tuple[str, ...] | None] = {
    "--cfg": ("job", "hydra", "all"),
    "--package": None,
    "--resolve": (),
    "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
}
SHORT = {"-c": "--cfg", "-p": "--package", "-i": "--info", "-h": "--help", "help": "--help"}
FLAGS = (*SHOWING, "--config-dir", "--help", "--version")
LAUNCHERS = {
    "basic": ("", "one after the other, in this process"),
    "joblib": ("hydra_joblib_launcher", "several at once on this machine"),
    "submitit_local": ("hydra_submitit_launcher", "each in a process of its own"),
    "submitit_slurm": ("hydra_submitit_launcher", "a Slurm job each"),
}


@dataclass(frozen=True)
class Line:
    """A command line, taken apart.

    Attributes:
        words: `key=value` words and `--config-dir`, as given.
        shows: flags with which Hydra shows something and runs nothing.
    """

    words: list[str]
    shows: list[str]


@dataclass(frozen=True)
class HydraCommand:
    """A command that takes the whole configuration.

    Attributes:
        name: as typed, `iapt-train`.
        purpose: what it does, in a sentence.
        examples: command lines for `--help`.
    """

    name: str
    purpose: str
    examples: Sequence[str]

    def main(self, run: Any, arguments: Sequence[str] | None) -> int:
        """Answer `--help` and `--version`, or run; returns the exit code."""
        words = list(sys.argv[1:] if arguments is None else arguments)
        if not words or {"-h", "--help", "help"} & set(words):
            return guarded(lambda: print(self.help(words)))
        if "--version" in words:
            print(f"{self.name} {__version__}")
            return 0
        return guarded(lambda: run(flags_and_words(words)))

    def help(self, words: Sequence[str] = ()) -> str:
        """The page of groups, entries and examples, with those of `--config-dir`."""
        folders, _ = config_dirs(words)
        lines = [f"Usage: {self.name} key=value ...", "", f"{self.name}: {self.purpose}", ""]
        lines.append("Groups (choose with group=entry, or with task=<path>.yaml):")
        for group, entries in groups(folders).items():
            lines.append(f"  {group}")
            for entry in entries:
                if (group, entry) != ("variant", "none"):
                    lines += _columns(f"    {entry:<18} ", summary(group, entry, folders))
        lines += ["", "Numbers of a run (hparams.KEY=VALUE; the paper's values):"]
        for key, value, about in _numbers():
            lines += _columns(f"  {f'{key}={value}':<30} ", about)
        lines += ["", "Launchers of iapt-sweep (hydra/launcher=NAME):"]
        for launcher, (package, about) in LAUNCHERS.items():
            there = not package or _installed(package)
            note = "" if there else f" (needs pip install {package.replace('_', '-')})"
            lines += _columns(f"  {launcher:<18} ", about + note)
        return "\n".join(
            [*lines, "", *_OTHERS, "", "Examples:", *(f"  {e}" for e in self.examples)]
        )


_OTHERS = """Other words:
  seed=3  limit.train=200  device=cpu  data=<folder>     a seed, fewer examples, a device, your rows
  method.rank=8  task.num_beams=1                        any number of an entry
  out=<folder>  rows=<folder>                            where runs and their rows go
  dry_run=true  force=true                               show the plan and stop; run a finished run again
  plugins=<module>  --config-dir <folder>                methods and tasks of your own, and their YAML
Flags:
  --cfg job [--resolve] [--package method]               show the configuration and stop
  --info [defaults|searchpath|...]                       how it was put together
  --version  --help""".splitlines()


def flags_and_words(words: Sequence[str]) -> Line:
    """Take Hydra's flags out of a command line.

    Raises:
        ConfigError: an unknown flag, a value that it does not take, or one that does nothing alone.
    """
    rest, shows, left = list[str](), list[str](), list(words)
    while left:
        word = left.pop(0)
        flag, equals, value = word.partition("=")
        flag = SHORT.get(flag, flag)
        if not word.startswith("-") or flag in ("--config-dir", "-cd"):
            rest.append(word)
            if flag in ("--config-dir", "-cd") and not equals:
                rest += left[:1]
                del left[:1]
            continue
        if flag not in SHOWING:
            raise ConfigError(
                f"{word}: no such flag; allowed are {', '.join(FLAGS)}.{closest(flag, FLAGS)}"
            )
        allowed = SHOWING[flag]
        if not equals and allowed != () and left and _is_value(left[0], flag):
            value = left.pop(0)
        if flag == "--info" and not value:
            value = "all"
        if (allowed and value not in allowed) or (allowed is None and not value):
            choices = ", ".join(allowed or ("a key, such as method",))
            raise ConfigError(
                f"{flag} {value}: allowed are {choices}.{closest(value, allowed or ())}"
            )
        shows += [flag, value] if allowed != () else [flag]
    if shows and not {"--cfg", "--info"} & set(shows):
        raise ConfigError(f"{shows[0]}: goes with --cfg, as in --cfg job {' '.join(shows)}.")
    return Line(rest, shows)


def run_hydra(task: object, words: Sequence[str]) -> None:
    """Let Hydra compose and call `task`; our errors pass through instead of being printed by Hydra."""
    import hydra

    os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra prints its own report and exits
    before = sys.argv
    sys.argv = [before[0], *words]
    try:
        hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name="config")(task)()  # type: ignore[arg-type]
    finally:
        sys.argv = before


def made_folder(key: str, folder: Path) -> Path:
    """Make a folder that the user asked for.

    Raises:
        ConfigError: it cannot be made; the message names the key.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, StorageError) as error:
        raise ConfigError(f"{key}={folder}: no folder that can be made ({error}).") from error
    return folder


def _is_value(word: str, flag: str) -> bool:
    """Whether a word after a flag is the flag's value; `--info task=boolq` gives none."""
    return not word.startswith("-") and not (flag == "--info" and "=" in word)


def _numbers() -> list[tuple[str, str, str]]:
    """Key, the paper's value and meaning of each hparam; read as text, since an import takes time."""
    preset = (CONFIG_DIR / "hparams" / "paper.yaml").read_text(encoding="utf-8")
    source = (PACKAGE / "training" / "hparams.py").read_text(encoding="utf-8")
    values = re.findall(r"^(\w+): *([^#\n]*?) *(?:#.*)?$", preset, re.MULTILINE)
    about = dict(re.findall(r"^        (\w+): (.+(?:\n {12}.+)*)", source, re.MULTILINE))
    return [(k, v, " ".join(about.get(k, "").split())) for k, v in values if k != "name"]


def _installed(package: str) -> bool:
    try:
        return find_spec(f"hydra_plugins.{package}") is not None
    except ImportError:
        return False


def _columns(head: str, about: str) -> list[str]:
    first, *more = textwrap.wrap(about, 118 - len(head)) or [""]
    return [(head + first).rstrip(), *(" " * len(head) + line for line in more)]
