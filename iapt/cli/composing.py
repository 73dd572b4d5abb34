"""From Hydra's overrides to a configuration: every key checked, then composed to plain values.

`from_words` takes a user's words through all steps: `prepare`, `check_keys`, `composed`.  Hydra is
imported inside the functions, because `--help` must answer at once.
"""

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from itertools import islice
from typing import TYPE_CHECKING, Any

from iapt.cli.overrides import CHOOSING, groups, prepare, refuse_grid, split_argument
from iapt.configuration.catalog import CONFIG_DIR, NAMED, hydra_message, resolved
from iapt.errors import ConfigError, closest

if TYPE_CHECKING:
    from omegaconf import DictConfig

NUMBER = r"(0|[1-9]\d{0,8})"  # as Hydra and everyone else reads it
CODE = ("_target_", "()", "class")  # keys of Hydra's own settings whose values it imports
HYDRAS = ("hydra._internal.core_plugins.", "hydra_plugins.", "logging.")
STREAMS = ("ext://sys.stdout", "ext://sys.stderr")
GRID = "grid"  # the key under which an experiment lists its cells; not part of a run


def from_words(words: Sequence[str]) -> dict[str, Any]:
    """Return the configuration that a user's words ask for, `--config-dir` and `plugins=` included.

    Raises:
        ConfigError: a word is wrong, also where the command does not use it; see `prepare` and `check_keys`.
    """
    refuse_grid(words)
    prepared = check_keys(prepare(words))
    config = composed(prepared)
    # Both bring libraries that take seconds to load; a wrong word is refused before.
    from iapt.configuration.checking import checked
    from iapt.planning import Settings

    checked(Settings, config)
    return config


def check_keys(prepared: Sequence[str]) -> list[str]:
    """Compose once per choice and report an overridden key that does not exist, before Hydra does.

    Whatever else Hydra cannot compose of the first cell is reported too.

    Returns:
        The words, marked for Hydra as new where a key is an argument of an entry's class that its file leaves out.

    Raises:
        ConfigError: naming the nearest key and, where there are several choices, the one that lacks it.
    """
    from omegaconf import OmegaConf

    grid = grid_of(prepared)
    known = groups()
    chosen = {key: words for key, words in grid.items() if key in known}
    made: dict[tuple[str, ...], Any] = {}
    new: set[str] = set()
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
                    more = _arguments(node, path[0], grid) if depth == 1 else []
                    if part in more:
                        new.add(word)
                        break
                    have += [name for name in more if name not in have]
                    where = f" in {'.'.join(path[:depth])}" if depth else ""
                    only = f" of {choice}, one of several" if len(choices) > 1 else ""
                    raise ConfigError(
                        f"{key}={value}: unknown key {part!r}{where}{only}; allowed are "
                        f"{', '.join(k for k in have if k != 'hydra') or 'none below this'}."
                        f"{closest(part, have)}"
                    )
                there = OmegaConf.is_missing(node, part) or OmegaConf.is_interpolation(node, part)
                node = None if there else node[part]
    marked = [f"++{word}" if word in new else word for word in prepared]
    _composed(tuple(words[0] for words in grid_of(marked).values()))
    return marked


def _arguments(node: Any, group: str, grid: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the arguments that an entry may give to its class, though its file need not."""
    from omegaconf import OmegaConf

    entry: Any = OmegaConf.to_container(node) if OmegaConf.is_dict(node) else {}
    if "_target_" not in entry:
        return []
    # These bring torch, and so come only where the files alone do not know a key.
    from iapt.configuration.building import arguments
    from iapt.configuration.plugins import Plugins
    from iapt.entries import GIVEN

    plugins = Plugins.find(_composed(tuple(grid.get("plugins", ()))).plugins)
    return [name for name in arguments(entry, group, plugins) if name not in GIVEN]


def experiment_grid(prepared: Sequence[str]) -> "tuple[object, str, str] | None":
    """Return the grid of the chosen experiment, the experiment and the scale; None: it has no grid.

    Raises:
        ConfigError: there are several experiments or scales.
    """
    given = {key: words for key, words in grid_of(prepared).items() if key in CHOOSING}
    for key, words in given.items():
        if len(words) > 1:
            values = ",".join(str(split_argument(word)[1]) for word in words)
            raise ConfigError(f"{key}={values}: one {key} has one grid; run a sweep for each.")
    chosen = {key: words[0] for key, words in given.items()}
    if "experiment" not in chosen:
        return None
    from omegaconf import OmegaConf

    config = OmegaConf.masked_copy(_composed(tuple(chosen.values())), GRID)
    if GRID not in config:
        return None
    names = {key: str(split_argument(word)[1]) for key, word in chosen.items()}
    found: Any = OmegaConf.to_container(config)
    return found[GRID], names["experiment"], names.get("scale", "paper")


def grid_of(prepared: Sequence[str]) -> dict[str, list[str]]:
    """Return one word per value of each key: `seed=0,1` -> {"seed": ["seed=0", "seed=1"]}.

    Raises:
        ConfigError: Hydra cannot read a word, or it is an empty range, or a longer one than a grid may have.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import RangeSweep
    from hydra.errors import HydraException

    from iapt.grid.blocks import MOST, check_size

    parser, grid = OverridesParser.create(), dict[str, list[str]]()
    for word in prepared:
        try:
            override = parser.parse_override(word)
            key, value = override.get_key_element(), override.value()
            if isinstance(value, RangeSweep):
                check_size(word, sum(1 for _ in islice(value.range(), MOST + 1)))
            values = (
                [str(v) for v in override.sweep_string_iterator()]
                if override.is_discrete_sweep()
                else [word.partition("=")[2]]
            )
        except ConfigError:
            raise
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
    return plain(*_taken_apart(_composed(tuple(words), name)))


class Composer:
    """Composes the cells of a grid as `composed` does, each distinct choice of entries once.

    Hydra takes a tenth of a second to compose, and a grid has hundreds of cells.  Seeds and other
    whole numbers are therefore set in a shared composition, and tasks x methods cells are put together from
    tasks + methods compositions.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[str, ...], tuple[DictConfig, Mapping[str, Any]]] = {}
        self._first: dict[tuple[str, ...], tuple[str, str]] = {}

    def __call__(self, words: Sequence[str]) -> dict[str, Any]:
        """Compose one cell; see `composed`."""
        from omegaconf import OmegaConf

        seeds = [w for w in words if re.fullmatch(f"seed={NUMBER}", w)]
        config, choices = self._config(tuple(w for w in words if w not in seeds))
        for seed in seeds:
            OmegaConf.update(config, "seed", int(seed.partition("=")[2]))
        return plain(config, choices)

    def _config(self, words: tuple[str, ...]) -> "tuple[DictConfig, Mapping[str, Any]]":
        """Return a composition under any seed, and the entry chosen in each group."""
        if words not in self._made:
            self._made[words] = self._with_numbers(words) or self._of_parts(words)
        return self._made[words]

    def _with_numbers(
        self, words: tuple[str, ...]
    ) -> "tuple[DictConfig, Mapping[str, Any]] | None":
        """Set the numbers among the words in the composition of the others, if it has their keys."""
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException

        numbers = [w for w in words if re.fullmatch(rf"(?!hydra\.)\w+(\.\w+)+={NUMBER}", w)]
        if not numbers:
            return None
        config, choices = self._config(tuple(w for w in words if w not in numbers))
        config = deepcopy(config)
        try:
            for key, value in map(split_argument, numbers):
                OmegaConf.update(config, key, int(value or 0), force_add=False)
        except OmegaConfBaseException:  # Hydra explains what is wrong
            return None
        return config, choices

    def _of_parts(self, words: tuple[str, ...]) -> "tuple[DictConfig, Mapping[str, Any]]":
        """Compose, or put the composition together from that of its task and that of its method."""
        task, method = (next((w for w in words if _alone(w, g)), "") for g in ("task", "method"))
        rest = tuple(w for w in words if w not in (task, method))
        first_task, first_method = self._first.setdefault(rest, (task, method))
        if task == first_task or method == first_method or "" in (task, method):
            made = _taken_apart(_composed(words))
        else:  # neither entry reaches outside its group, so the two differences are independent
            there, chosen = self._config(tuple(first_method if w == method else w for w in words))
            config, choices = self._config(tuple(first_task if w == task else w for w in words))
            config = deepcopy(config)
            config.task = deepcopy(there._get_node("task"))
            made = config, {**choices, "task": chosen["task"]}
        return made


def _taken_apart(config: "DictConfig") -> "tuple[DictConfig, Mapping[str, Any]]":
    from omegaconf import open_dict

    with open_dict(config):
        choices = config.pop("hydra").runtime.choices
    return config, choices


def _alone(word: str, group: str) -> bool:
    """Say whether a word chooses an entry of the package that fills its own group and nothing else."""
    key, value = split_argument(word)
    file = CONFIG_DIR / group / f"{value}.yaml"
    if key != group or not file.is_file():
        return False
    text = file.read_text(encoding="utf-8")
    return not re.search(r"@package|_global_|^ *- *(/|override)", text, re.MULTILINE)


def plain(config: "DictConfig", choices: Mapping[str, Any]) -> dict[str, Any]:
    """Return a composed configuration as plain values; an entry without a name takes its file's.

    Args:
        config: what Hydra composed.
        choices: the entry chosen in each group.
    """
    values = resolved(config, missing=False)
    values.pop("launcher", None)  # it starts runs, and changes nothing in them
    values.pop(GRID, None)
    for group in NAMED:
        if isinstance(values.get(group), dict) and choices.get(group):
            values[group].setdefault("name", str(choices[group]))
    return values


def _composed(words: tuple[str, ...], name: str | None = "config") -> "DictConfig":
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            config = compose(name, overrides=list(words), return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(f"{hydra_message(error)}.") from error
    except RecursionError as error:
        raise ConfigError("an entry's defaults lead back to themselves.") from error
    # Hydra checks little of a file: a list of defaults that is none, or of others than texts, ends in any of these.
    except (AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{' '.join(words)}: cannot be composed ({hydra_message(error) or type(error).__name__})."
        ) from error
    _refuse_code(config.hydra, "hydra")
    return config


def _refuse_code(node: Any, where: str) -> None:
    """Refuse what an entry makes Hydra import beside its own launchers, sweepers and Python's logging.

    Raises:
        ConfigError: naming the key.
    """
    from omegaconf import OmegaConf

    from iapt.configuration.checking import short  # brings pydantic, which --help does without

    parts: Any = OmegaConf.to_container(node, resolve=False) if OmegaConf.is_config(node) else node
    pairs = parts.items() if isinstance(parts, dict) else enumerate(parts)
    for key, value in pairs:
        if isinstance(value, (dict, list)):
            _refuse_code(value, f"{where}.{key}")
        elif isinstance(value, str) and (
            (key in CODE and not value.startswith(HYDRAS))
            or (value.startswith(("ext://", "cfg://")) and value not in STREAMS)
        ):
            raise ConfigError(
                f"{where}.{key}={short(value)}: no entry may name code for Hydra, but what lies in "
                f"{', '.join(HYDRAS)}; nothing was imported."
            )
