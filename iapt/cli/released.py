"""What the split rules make of the released data, from configs/task/ alone (Table 6)."""

from collections.abc import Iterable

from iapt.cli.configuration import CONFIG_DIR
from iapt.tasks.base import RowTask, Split


def released_splits(names: Iterable[str]) -> dict[str, tuple[dict[Split, int], str]]:
    """Return for each task the rows of its splits and how they are made; reads no data.

    Args:
        names: tasks of configs/task/.
    """
    from hydra import compose, initialize_config_dir
    from hydra.utils import instantiate

    found = {}
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        for name in names:
            task: RowTask = instantiate(compose(f"task/{name}").task)
            found[name] = task.released_sizes(), task.split_rule.sentence()
    return found
