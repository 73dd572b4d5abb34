"""`iapt-data`: look at prompts, fetch released data sets, check what was fetched."""

import sys
from collections.abc import Sequence

from iapt.cli.command import OWN_ENTRIES, Command, Commands, Key, Words
from iapt.cli.composing import from_words
from iapt.cli.overrides import groups, prepare
from iapt.cli.readers import one_of, whole
from iapt.errors import ConfigError, DataError
from iapt.files import expanded
from iapt.tasks.base import SPLITS

PREVIEW = Command(
    name="iapt-data preview",
    usage="task=TASK [key=value ...]",
    purpose="Print the first prompts of a split with their token boundaries, and the lengths of the whole split. "
    "Also takes every argument of iapt-train: data=FOLDER, backbone=NAME, task.template=...",
    takes_others=True,
    keys=[
        Key("n", "prompts to print", 3, whole(1)),
        Key("split", "train, dev or test", "train", one_of(*SPLITS)),
        Key("max_length", "the most tokens of prompt and response together", 2048, whole(1)),
    ],
)
FETCH = Command(
    name="iapt-data fetch",
    usage="task=TASK[,TASK ...] [out=FOLDER]",
    purpose="Download the releases pinned in configs/task/ to FOLDER/<data set>/ with a SHA-256 manifest. "
    "Data sets that are present and intact are left alone.",
    at_most=0,
    keys=[
        Key(
            "task", "comma-separated tasks, or all for every data set with a release", shown="TASK"
        ),
        Key("out", "the folder; default: the folder of data=hub", None, expanded, "FOLDER"),
        *OWN_ENTRIES,
    ],
)
VERIFY = Command(
    name="iapt-data verify",
    usage="[FOLDER]",
    purpose="Compare every data set in FOLDER with its manifest; needs no network. Without FOLDER: the "
    "folder of data=hub.",
    at_most=1,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return COMMANDS.main(arguments)


def _preview(words: Words) -> None:
    config = from_words(words.overrides())

    from iapt.backbone.config import BackboneConfig
    from iapt.backbone.load import load_tokenizer
    from iapt.configuration.plugins import Plugins
    from iapt.data.preview import preview
    from iapt.data.tokens import Tokens
    from iapt.entries import build_source, build_task

    plugins = Plugins.find(config.get("plugins"))
    task, source = build_task(config["task"], plugins), build_source(config["data"], plugins)
    # The rows come first, because a tokenizer may have to be made or fetched.
    task.examples(words["split"], source)
    backbone = BackboneConfig.from_mapping(config["backbone"])
    tokens = Tokens(
        tokenizer=load_tokenizer(backbone),
        template=backbone.template,
        bos=backbone.bos,
        max_length=min(words["max_length"], backbone.dims.max_positions),
    )
    print(preview(task, source, tokens, words["split"], words["n"]))


def _fetch(words: Words) -> None:
    if not words["task"]:
        raise ConfigError(
            "iapt-data fetch: name the tasks, such as iapt-data fetch task=boolq,sst2 out=data"
        )
    everything = words["task"] == "all"
    names = groups(words.folders)["task"] if everything else words["task"].split(",")
    # Refuses unknown names before it fetches anything.
    prepare(words.overrides(f"task={','.join(names)}"))

    from iapt.configuration.plugins import Plugins
    from iapt.data.hub import Hub
    from iapt.entries import build_row_task

    hub = Hub(words["out"])
    done: set[str] = set()
    for name in names:
        config = from_words(words.overrides(f"task={name}"))
        task = build_row_task(config["task"], Plugins.find(config.get("plugins")))
        releases = task.releases()
        if not releases and not everything:
            raise DataError(f"task={name} has no release in configs/task/{name}.yaml to fetch.")
        for dataset, release in releases.items():
            if dataset not in done:
                hub.fetch(dataset, release)
                rows = task.check_sizes(hub, dataset)
                print(f"{hub.path / dataset}: {rows}", flush=True)
                done.add(dataset)


def _verify(words: Words) -> None:
    from iapt.data.hub import Hub, verify

    root = expanded(words.names[0]) if words.names else Hub().path
    folders = sorted(p for p in root.glob("*") if p.is_dir() and not p.name.startswith("."))
    if not folders:
        raise DataError(f"{root} has no data set. Fetch some: iapt-data fetch task=all out={root}")
    bad = 0
    for folder in folders:
        faults = verify(folder)
        bad += bool(faults)
        print(f"{folder.name}: {'; '.join(faults) or 'intact'}")
    if bad:
        raise DataError(
            f"{bad} of {len(folders)} data sets in {root} do not match their manifests."
        )


COMMANDS = Commands(
    "iapt-data",
    "Look at prompts, fetch released data sets, check what was fetched.",
    {"preview": (PREVIEW, _preview), "fetch": (FETCH, _fetch), "verify": (VERIFY, _verify)},
)


if __name__ == "__main__":
    sys.exit(main())
