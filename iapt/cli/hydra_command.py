"""What `iapt-train` and `iapt-sweep` share: their flags, their `--help`, and the call of Hydra."""

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iapt.cli.command import config_dirs, hanging
from iapt.cli.exit import answer
from iapt.cli.launchers import needs
from iapt.cli.overrides import CONFIG_DIR, groups, summary
from iapt.configuration.catalog import PACKAGE
from iapt.errors import ConfigError, StorageError, closest

# The flags that we pass on to Hydra, with their allowed values; None allows any value, () allows none.
SHOWING: dict[str, tuple[str, ...] | None] = {
    "--cfg": ("job", "hydra", "all"),
    "--package": None,
    "--resolve": (),
    "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
}
SHORT = {"-c": "--cfg", "-p": "--package", "-i": "--info", "-h": "--help", "help": "--help"}
WIDTH = 118  # characters of a line of `--help`
FLAGS = (*SHOWING, "--config-dir", "--help", "--version")


@dataclass(frozen=True)
class Line:
    """A command line in two parts.

    Attributes:
        words: `key=value` words and `--config-dir`, as given.
        shows: flags that make Hydra show something and run nothing.
    """

    words: list[str]
    shows: list[str]


@dataclass(frozen=True)
class HydraCommand:
    """A command that takes the whole configuration.

    Attributes:
        name: as typed, `iapt-train`.
        purpose: what it does, in one sentence.
        examples: command lines for `--help`.
        shares: whether several processes, started by torchrun, may do its work together.
    """

    name: str
    purpose: str
    examples: Sequence[str]
    shares: bool = False

    def main(self, run: Any, arguments: Sequence[str] | None) -> int:
        """Answer `--help` and `--version`, or run; returns the exit code."""
        words = list(sys.argv[1:] if arguments is None else arguments)
        return answer(
            self.name,
            words or ["--help"],
            lambda: self.help(words),
            lambda: self._run(run, words),
        )

    def _run(self, run: Any, words: list[str]) -> None:
        if not self.shares:
            refuse_processes(self.name)
        run(flags_and_words(words))

    def help(self, words: Sequence[str] = ()) -> str:
        """Return the page of groups, entries and examples; `--config-dir` in `words` adds its entries."""
        folders, _ = config_dirs(words)
        lines = [f"Usage: {self.name} key=value ...", "", f"{self.name}: {self.purpose}", ""]
        lines.append(
            "Groups (choose an entry with group=entry, or your own file with task=<path>.yaml):"
        )
        for group, entries in groups(folders).items():
            lines.append(f"  {group}")
            for entry in entries:
                if (group, entry) != ("variant", "none"):
                    about = summary(group, entry, folders)
                    if group == "launcher" and needs(entry):
                        about += f" Needs {needs(entry)}."
                    lines += hanging(f"    {entry:<18} ", about, WIDTH)
        lines += ["", "Hyperparameters (hparams.KEY=VALUE; the values shown are the paper's):"]
        for key, value, about in _numbers():
            lines += hanging(f"  {f'{key}={value}':<30} ", about, WIDTH)
        return "\n".join(
            [*lines, "", *_OTHERS, "", "Examples:", *(f"  {e}" for e in self.examples), ""]
        )


_OTHERS = """Other arguments:
  seed=3  limit.train=200  device=cpu  data=<folder>     seed, fewer examples, device, your own rows
  method.rank=8  task.num_beams=1                        any value of an entry
  out=<folder>  rows=<folder>                            where runs and their result rows go
  dry_run=true  force=true                               show the plan and stop; repeat a finished run
  plugins=<module>  --config-dir <folder>                your own methods and tasks, and their YAML files
Flags:
  --cfg job [--resolve] [--package method]               show the configuration and stop
  --info [defaults|searchpath|...]                       show how it was composed
  --version  --help
Exit codes:
  0 finished; 1 failed; 2 a wrong argument; 3 a grid without failures that is not finished
  130, 143, 129, 140 after SIGINT, SIGTERM, SIGHUP, SIGUSR2; repeat the command to resume from there""".splitlines()


def refuse_processes(name: str) -> None:
    """Refuse to be started as one of several processes of one run.

    Raises:
        ConfigError: `WORLD_SIZE`, which torchrun sets, is more than 1.
    """
    count = os.environ.get("WORLD_SIZE", "1")
    if count.strip() != "1":
        raise ConfigError(
            f"WORLD_SIZE={count}: {name} runs in one process. Start it without torchrun, or unset WORLD_SIZE; "
            "iapt-sweep uses several GPUs by running several cells at once (launcher=...)."
        )


def flags_and_words(words: Sequence[str]) -> Line:
    """Separate Hydra's flags from the other words of a command line.

    Raises:
        ConfigError: a flag is unknown, has a value that it does not take, or does nothing on its own.
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
        raise ConfigError(f"{shows[0]}: works only with --cfg, as in --cfg job {' '.join(shows)}.")
    return Line(rest, shows)


def run_hydra(task: object, words: Sequence[str]) -> None:
    """Let Hydra compose the configuration and call `task`; our errors pass through Hydra unprinted.

    Raises:
        ConfigError: Hydra does not take one of its own settings.
    """
    import hydra

    os.environ["HYDRA_FULL_ERROR"] = "1"  # otherwise Hydra prints its own report and exits
    before = sys.argv
    sys.argv = [before[0], *words]
    try:
        hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name="config")(task)()  # type: ignore[arg-type]
    except AssertionError as error:  # what Hydra does with hydra.verbose=7
        raise ConfigError(
            "hydra.*: one of Hydra's own settings has a value that it does not take."
        ) from error
    finally:
        sys.argv = before


def made_folder(key: str, folder: Path) -> Path:
    """Make a folder that the user named.

    Raises:
        ConfigError: it cannot be made; the message names the key.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, StorageError) as error:
        raise ConfigError(f"{key}={folder}: the folder cannot be made ({error}).") from error
    return folder


def _is_value(word: str, flag: str) -> bool:
    """Say whether the word after a flag is its value; in `--info task=boolq` it is not."""
    return not word.startswith("-") and not (flag == "--info" and "=" in word)


def _numbers() -> list[tuple[str, str, str]]:
    """Return key, paper's value and meaning of each hyperparameter, read as text: an import takes time."""
    preset = (CONFIG_DIR / "hparams" / "paper.yaml").read_text(encoding="utf-8")
    source = (PACKAGE / "training" / "hparams.py").read_text(encoding="utf-8")
    values = re.findall(r"^(\w+): *([^#\n]*?) *(?:#.*)?$", preset, re.MULTILINE)
    about = dict(re.findall(r"^        (\w+): (.+(?:\n {12}.+)*)", source, re.MULTILINE))
    return [(k, v, " ".join(about.get(k, "").split())) for k, v in values if k != "name"]
