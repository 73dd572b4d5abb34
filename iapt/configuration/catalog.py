"""The entries of the package, configs/<group>/<name>.yaml, and the user's files of the same form."""

from pathlib import Path
from typing import Any

from iapt.errors import ConfigError, DataError, closest
from iapt.files import read_text

PACKAGE = Path(__file__).resolve().parents[1]
# In a wheel the folder is inside the package; in a checkout it is beside it, where people edit it.
CONFIG_DIR = next(
    (p for p in (PACKAGE.parent / "configs", PACKAGE / "configs") if (p / "config.yaml").is_file()),
    PACKAGE / "configs",
)
# The groups whose entries have a name; an entry without one takes its file's.
NAMED = ("task", "method", "backbone", "hparams")


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
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    if name in names(group):
        from hydra import compose, initialize_config_dir

        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            config: Any = compose(overrides=[f"+{group}={name}"])[group]
    else:
        path = Path(name).expanduser()
        if path.suffix not in (".yaml", ".yml"):
            raise ConfigError(
                f"{group}={name}: there is no such {group}; there are {', '.join(names(group))}, or the path of a "
                f"YAML file.{closest(name, names(group))}"
            )
        try:
            config = OmegaConf.create(read_text(path))
        except (DataError, YAMLError, OmegaConfBaseException) as error:
            raise ConfigError(
                f"{group}={name}: cannot be read ({error.__cause__ or error})."
            ) from error
    try:
        values = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{group}={name}: {error}.") from error
    if not isinstance(values, dict):
        raise ConfigError(
            f"{group}={name}: must be a mapping, as the files in configs/{group}/ are."
        )
    named = {"name": Path(name).stem} if group in NAMED else {}
    return named | {str(key): value for key, value in values.items()}
