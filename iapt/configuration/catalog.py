"""The entries of the package, configs/<group>/<name>.yaml, and the user's files of the same form."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iapt.errors import ConfigError, DataError, closest
from iapt.files import expanded, read_text

if TYPE_CHECKING:
    from omegaconf import DictConfig

PACKAGE = Path(__file__).resolve().parents[1]
# In a wheel the folder is inside the package; in a checkout it is beside it, where people edit it.
CONFIG_DIR = next(
    (p for p in (PACKAGE.parent / "configs", PACKAGE / "configs") if (p / "config.yaml").is_file()),
    PACKAGE / "configs",
)
# The groups whose entries have a name; an entry without one takes its file's.
NAMED = ("task", "method", "backbone", "hparams")
LARGEST = 100_000  # bytes, and values, of an entry; ours have a hundredth of it


def names(group: str) -> list[str]:
    """Return the names of a group's entries, such as all methods."""
    return sorted(path.stem for path in (CONFIG_DIR / group).glob("*.yaml"))


def entry(group: str, name: str) -> dict[str, Any]:
    """Return one entry as plain values.

    Args:
        group: a folder of configs/, such as "task".
        name: one of `names(group)`, or the path of a YAML file of the same form.

    Raises:
        ConfigError: there is no such entry or file, or the file is not a mapping.
    """
    if name in names(group):
        from hydra import compose, initialize_config_dir

        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            config: Any = compose(overrides=[f"+{group}={name}"])[group]
    else:
        path = expanded(name)
        if path.suffix not in (".yaml", ".yml"):
            raise ConfigError(
                f"{group}={name}: there is no such {group}; there are {', '.join(names(group))}, or the path of a "
                f"YAML file.{closest(name, names(group))}"
            )
        config = read_entry(path, f"{group}={name}")[1]
    named = {"name": Path(name).stem} if group in NAMED else {}
    return named | resolved(config, f"{group}={name}")


@cache
def target_of(group: str, name: str) -> str:
    """Return the `_target_` of an entry of the package, perhaps of one that it builds on; empty if there is none."""
    node = read_entry(CONFIG_DIR / group / f"{name}.yaml", f"{group}={name}")[1]
    if "_target_" in node:
        return str(node["_target_"])
    bases = [b for b in node.get("defaults", ()) if isinstance(b, str) and b != "_self_"]
    return next(filter(None, (target_of(group, base) for base in bases)), "")


def read_entry(file: Path, said: str) -> "tuple[str, DictConfig]":
    """Read a YAML file of the user's with the keys and values of an entry; returns also its text.

    Args:
        file: the file.
        said: what messages call it, such as "method=my_method.yaml".

    Raises:
        ConfigError: it cannot be read, is no YAML mapping, or is larger than an entry can be.
    """
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        text = read_text(file, LARGEST)
        root = yaml.compose(text, yaml.SafeLoader)
        if root is not None and not isinstance(root, yaml.MappingNode):
            raise ConfigError(
                f"{said}: must contain key: value lines, as the files in configs/ do."
            )
        if _count(root, {}) > LARGEST:  # aliases of aliases make billions of a few lines
            raise ConfigError(f"{said}: has more values than an entry can have.")
        node: Any = OmegaConf.create(text)
        return text, node
    except DataError as error:
        raise ConfigError(f"{said}: cannot be read ({error.__cause__ or error}).") from error
    except RecursionError as error:
        raise ConfigError(f"{said}: is nested without end.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f"line {mark.line + 1}: " if mark else ""
        reason = " ".join(str(getattr(error, "problem", None) or error).split())
        raise ConfigError(f"{said}: not YAML ({at}{reason}).") from error
    # Of OmegaConf's for a value that it does not hold, and Python's for a number of thousands of digits.
    except (OmegaConfBaseException, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{said}: {hydra_message(error)}.") from error


def resolved(config: "DictConfig", said: str = "", *, missing: bool = True) -> dict[str, Any]:
    """Return a configuration as plain values with text keys, as JSON has them, its interpolations resolved.

    Args:
        config: what OmegaConf holds.
        said: what messages begin with.
        missing: whether a mandatory value may be missing.

    Raises:
        ConfigError: a value is missing, or an interpolation leads nowhere, or back to itself.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

    start = f"{said}: " if said else ""
    try:
        values = OmegaConf.to_container(config, resolve=True, throw_on_missing=not missing)
    except MissingMandatoryValue as error:
        raise ConfigError(
            f"{start}{error.full_key}: missing; give {error.full_key}=VALUE."
        ) from error
    except OmegaConfBaseException as error:
        raise ConfigError(f"{start}{hydra_message(error)}.") from error
    except RecursionError as error:
        raise ConfigError(f"{start}an interpolation (${{...}}) leads back to itself.") from error
    found: dict[str, Any] = _plain(values, said)
    return found


def hydra_message(error: Exception) -> str:
    """Return what Hydra or OmegaConf says, with the key that it is about in front."""
    key = getattr(error, "full_key", None)
    lines = [line.strip() for line in str(error).splitlines()]
    kept = [line for line in lines if not line.startswith(("full_key:", "object_type="))]
    return f"{key}: " * bool(key) + " ".join(filter(None, kept)).rstrip(".")


def _plain(value: Any, where: str) -> Any:
    """Return a value with text keys; refuses the character that ends a text in every path and in C."""
    if isinstance(value, str) and "\0" in value:
        raise ConfigError(f"{where}={value[:60]!r}: no text may have the character NUL.")
    if isinstance(value, dict):
        return {str(k): _plain(v, f"{where}.{k}".lstrip(".")) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v, f"{where}.{k}") for k, v in enumerate(value)]
    return value


def _count(node: Any, known: dict[int, int]) -> int:
    """Count the values below a YAML node, those of an alias as often as it stands there."""
    if id(node) not in known:
        inner = getattr(node, "value", "")
        inner = inner if isinstance(inner, list) else []  # a scalar's is a text
        parts = [part for item in inner for part in (item if isinstance(item, tuple) else [item])]
        known[id(node)] = 1 + sum(_count(part, known) for part in parts)
    return known[id(node)]
