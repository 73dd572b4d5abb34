"""From Hydra's overrides to a configuration: every key checked, then composed to plain values.

`from_words` takes a user's words through all steps: `prepare`, `check_keys`, `composed`.  Hydra is
imported inside the functions, because `--help` must answer at once.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from iapt.cli.overrides import groups, prepare, refuse_grid, split_argument
from iapt.configuration.catalog import CONFIG_DIR, NAMED
from iapt.errors import ConfigError, closest

if TYPE_CHECKING:
    from omegaconf import DictConfig


def from_words(words: Sequence[str]) -> dict[str, Any]:
    """Return the configuration that a user's words ask for, `--config-dir` and `plugins=` included.

    Raises:
        ConfigError: a word is wrong; see `prepare` and `check_keys`.
    """
    refuse_grid(words)
    prepared = prepare(words)
    check_keys(prepared)
    return composed(prepared)


def check_keys(prepared: Sequence[str]) -> None:
    """Compose once per choice and report an overridden key that does not exist, before Hydra does.

    Raises:
        ConfigError: naming the nearest key and, where there are several choices, the one that lacks it.
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
    """Return one word per value of each key: `seed=0,1` -> {"seed": ["seed=0", "seed=1"]}.

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
        except (HydraException, ValueError) as error:  # ValueError: a number of thousands of digits
            reason = str(error).splitlines()[0]
            raise ConfigError(f"argument {word!r}: {reason}; quote special characters.") from error
        grid[key.lstrip("+")] = [f"{key}={value}" for value in values]
    return grid


def composed(words: Sequence[str], name: str | None = "config") -> dict[str, Any]:
    """Compose the configuration as plain values, fully resolved.

    Args:
        words: Hydra's overrides, as `prepare` returns them.
        name: the file to start from; None starts from nothing.

    Raises:
        ConfigError: a mandatory value is missing.
    """
    from omegaconf import open_dict

    config = _composed(tuple(words), name)
    with open_dict(config):
        choices = config.pop("hydra").runtime.choices
    return plain(config, choices)


def plain(config: "DictConfig", choices: Mapping[str, Any]) -> dict[str, Any]:
    """Return a composed configuration as plain values; an entry without a name takes its file's.

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
    values.pop("launcher", None)  # it starts runs, and changes nothing in them
    for group in NAMED:
        if isinstance(values.get(group), dict) and choices.get(group):
            values[group].setdefault("name", str(choices[group]))
    return {str(key): value for key, value in values.items()}


def _composed(words: tuple[str, ...], name: str | None = "config") -> "DictConfig":
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        return compose(name, overrides=list(words), return_hydra_config=True)
