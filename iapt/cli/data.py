"""`iapt-data`: look at prompts, fetch released data sets, check what was fetched."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from iapt import __version__
from iapt.cli.command import Command, Key, Words, guarded, one_of, whole
from iapt.cli.overrides import check_keys, composed, groups, prepare
from iapt.errors import ConfigError, DataError, closest
from iapt.tasks.base import SPLITS

PREVIEW = Command(
    name="iapt-data preview",
    usage="task=TASK [key=value ...]",
    purpose="Print the first prompts of a split with their token borders, and the lengths of the whole split. "
    "Every word of iapt-train is taken too: data=FOLDER, backbone=NAME, task.template=...",
    keys=[
        Key("n", "prompts to print", 3, whole(1)),
        Key("split", "train, dev or test", "train", one_of(*SPLITS)),
        Key("max_length", "tokens of prompt and response together", 2048, whole(1)),
    ],
)
FETCH = Command(
    name="iapt-data fetch",
    usage="task=TASK[,TASK ...] [out=FOLDER]",
    purpose="Download the releases pinned in configs/task/ to FOLDER/<data set>/ with a SHA-256 manifest. "
    "What is there and whole is left alone.",
    at_most=0,
    keys=[
        Key(
            "task",
            "tasks with commas between, or all for every data set with a release",
            shown="TASK",
        ),
        Key("out", "where to; default: where data=hub looks for them", shown="FOLDER"),
    ],
)
VERIFY = Command(
    name="iapt-data verify",
    usage="[FOLDER]",
    purpose="Compare every data set in FOLDER with its manifest; needs no network. Without FOLDER: where data=hub "
    "looks for them.",
    at_most=1,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    commands = {"preview": PREVIEW, "fetch": FETCH, "verify": VERIFY}
    asked_for_help = bool({"-h", "--help", "help"} & set(words[1:]))
    if words and words[0] == "preview" and not asked_for_help:
        return guarded(lambda: _preview(words[1:]))
    if words and words[0] in commands:
        return commands[words[0]].main(_fetch if words[0] == "fetch" else _verify, words[1:])
    if not words or {"-h", "--help", "help"} & set(words):
        print("\n".join(command.help() for command in commands.values()), end="")
        return 0
    if words == ["--version"]:
        print(f"iapt-data {__version__}")
        return 0
    return guarded(lambda: _unknown(words[0], commands))


def _unknown(word: str, commands: Mapping[str, Command]) -> None:
    raise ConfigError(
        f"iapt-data {word}: must be one of {', '.join(commands)}.{closest(word, commands)}"
    )


def _preview(arguments: Sequence[str]) -> None:
    own = {key.name for key in PREVIEW.keys}
    words = PREVIEW.parse([a for a in arguments if a.partition("=")[0] in own])
    config = _compose([a for a in arguments if a.partition("=")[0] not in own])

    from iapt.backbone.load import BackboneConfig, load_tokenizer
    from iapt.configuration.plugins import Plugins
    from iapt.data.preview import preview
    from iapt.data.tokens import Tokens
    from iapt.plan import build

    plugins = Plugins.find(config.get("plugins"))
    task, source = build(config["task"], "task", plugins), build(config["data"], "data", plugins)
    task.examples(
        words["split"], source
    )  # the rows first: a tokenizer may have to be made or fetched
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
            "iapt-data fetch: which? Such as: iapt-data fetch task=boolq,sst2 out=data"
        )
    everything = words["task"] == "all"
    names = groups()["task"] if everything else words["task"].split(",")
    prepare([f"task={','.join(names)}"])  # refuses unknown names before anything is fetched

    from iapt.data.hub import Hub
    from iapt.plan import build_row_task

    hub = Hub(words["out"])
    done: set[str] = set()
    for name in names:
        task = build_row_task(_compose([f"task={name}"])["task"])
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

    root = Path(words.names[0]).expanduser() if words.names else Hub().path
    folders = sorted(p for p in root.glob("*") if p.is_dir() and not p.name.startswith("."))
    if not folders:
        raise DataError(f"{root} has no data set. Fetch some: iapt-data fetch task=all out={root}")
    bad = 0
    for folder in folders:
        faults = verify(folder)
        bad += bool(faults)
        print(f"{folder.name}: {'; '.join(faults) or 'whole'}")
    if bad:
        raise DataError(f"{bad} of {len(folders)} data sets in {root} are not as fetched.")


def _compose(words: Sequence[str]) -> dict[str, Any]:
    prepared = prepare(words)
    check_keys(prepared)
    return composed(prepared)


if __name__ == "__main__":
    sys.exit(main())
