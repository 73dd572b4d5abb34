"""Command-line arguments: the configuration folder, its groups, and what is wrong with an argument.

Hydra composes the configuration; this file checks the words first, so that a mistake is answered in a
moment with the nearest right spelling.  Nothing heavy is imported at the top: `--help` must be quick.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from iapt.errors import ConfigError, IaptError, closest

PACKAGE = Path(__file__).resolve().parent.parent
# In a wheel the folder lies inside the package; in a checkout beside it, where people edit it.
CONFIG_DIR = next(
    (p for p in (PACKAGE.parent / "configs", PACKAGE / "configs") if (p / "config.yaml").is_file()),
    PACKAGE / "configs",
)


def groups() -> dict[str, list[str]]:
    """Configuration groups and their entries, read from the folder."""
    return {
        folder.name: sorted(p.stem for p in folder.glob("*.yaml"))
        for folder in sorted(CONFIG_DIR.iterdir())
        if folder.is_dir()
    }


def summary(group: str, entry: str) -> str:
    """The first comment line of an entry."""
    for line in (CONFIG_DIR / group / f"{entry}.yaml").read_text(encoding="utf-8").splitlines():
        if line.startswith("#") and "@package" not in line:
            return line.lstrip("# ").rstrip()
    return ""


def split_argument(argument: str) -> tuple[str, str | None]:
    """`+key=value` -> ("key", "value"); flags and deletions have value None."""
    key, equals, value = argument.partition("=")
    return key.lstrip("+~"), value if equals else None


def prepare(arguments: Sequence[str]) -> list[str]:
    """Check group choices and turn `data=<path>` into Hydra's words.

    Raises:
        ConfigError: an argument is not key=value, a group has no such entry, a key does not exist.
    """
    known, prepared = groups(), []
    for argument in arguments:
        key, value = split_argument(argument)
        if argument.startswith("-"):
            prepared.append(argument)
        elif value is None and not argument.startswith("~"):
            raise ConfigError(
                f"argument {argument!r}: expected key=value, such as task=boolq.{closest(key, known)}"
            )
        elif key == "data" and value is not None and _is_path(value, known["data"]):
            prepared += ["data=folder", f"data.path={value}"]
        else:
            if key in known and value is not None:
                for choice in value.split(","):
                    if choice not in known[key]:
                        raise ConfigError(
                            f"{key}={choice}: there is no such {key}; there are {', '.join(known[key])}."
                            f"{closest(choice, known[key])}"
                        )
            # An experiment is not part of the defaults, so Hydra wants it added.
            prepared.append(
                f"+{argument}" if key == "experiment" and not argument.startswith("+") else argument
            )
    return prepared


def refuse_grid(arguments: Sequence[str]) -> None:
    """Name an argument with several values, where one run wants one.

    Raises:
        ConfigError: with the command that takes them.
    """
    for argument in arguments:
        _, value = split_argument(argument)
        if value and "," in value and value[0] not in "[{('\"":
            raise ConfigError(
                f"{argument}: one run takes one value; iapt-sweep takes several and runs them all."
            )


def check_keys(arguments: Sequence[str]) -> None:
    """Compose once and name every overridden key that does not exist, before Hydra does.

    Raises:
        ConfigError: with the nearest key.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException
    from omegaconf import OmegaConf

    parser = OverridesParser.create()
    for word in arguments:
        if not word.startswith("-"):
            try:
                parser.parse_override(word)
            except HydraException as error:
                reason = str(error).splitlines()[0]
                raise ConfigError(
                    f"argument {word!r}: {reason}; put odd characters in quotes."
                ) from error
    known = groups()
    pairs = [(a, *split_argument(a)) for a in arguments if not a.startswith("-")]
    choices = [
        f"{a.split('=')[0]}={v.split(',')[0]}"
        for a, k, v in pairs
        if k in known and v and not a.startswith("~")
    ]
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        config = compose("config", overrides=choices)
    for argument, key, value in pairs:
        if (
            key in known
            or key.startswith("hydra")
            or argument.startswith(("+", "~"))
            or value is None
        ):
            continue
        node: Any = config
        path = key.split(".")
        for depth, part in enumerate(path):
            if not OmegaConf.is_dict(node) or part not in list(node.keys()):
                have = sorted(str(k) for k in node) if OmegaConf.is_dict(node) else []
                where = ".".join(path[:depth])
                raise ConfigError(
                    f"{key}={value}: unknown key {part!r}{f' in {where}' if where else ''}; allowed are "
                    f"{', '.join(have) or 'none below this'}.{closest(part, have)}"
                )
            node = (
                None
                if OmegaConf.is_missing(node, part) or OmegaConf.is_interpolation(node, part)
                else node[part]
            )


def composed(words: Sequence[str], name: str | None = "config") -> dict[str, Any]:
    """Compose the configuration folder: plain values, everything resolved.

    Args:
        words: overrides in Hydra's words, as `prepare` gives them.
        name: the file to begin with; None begins with nothing.
    """
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        values = OmegaConf.to_container(compose(name, overrides=list(words)), resolve=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def help_text(command: str, purpose: str, examples: Sequence[str]) -> str:
    """The `--help` page: groups, entries and examples, read from the configuration folder."""
    lines = [f"{command}: {purpose}", "", "Groups (choose with group=entry):"]
    for group, entries in groups().items():
        lines.append(f"  {group}")
        lines += [
            f"    {e:<18} {summary(group, e)[:90]}"
            for e in entries
            if not (group == "variant" and e == "none")
        ]
    lines += [
        "",
        "Any value:  hparams.lr=1e-4  method.rank=8  seed=3  limit.train=200  data=<folder>  device=cpu",
        "Others:     dry_run=true (show the plan, stop)   force=true (run again)   --cfg job (resolved configuration)",
        "",
        "Examples:",
        *(f"  {e}" for e in examples),
    ]
    return "\n".join(lines)


def guarded(command: Callable[[], None]) -> int:
    """Run a command; our own errors become one message without a traceback. Returns the exit code."""
    try:
        command()
    except IaptError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    except Exception as error:
        # Grammar of overrides, interpolations: Hydra and OmegaConf say what is wrong with a word.
        if type(error).__module__.split(".")[0] not in ("hydra", "omegaconf"):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoint.", file=sys.stderr)
        return 130
    return 0


def _is_path(value: str, entries: Sequence[str]) -> bool:
    return (
        value not in entries
        and "," not in value
        and ("/" in value or value.startswith(("~", ".")) or Path(value).is_dir())
    )
