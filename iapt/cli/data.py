"""`iapt-data`: look at prompts, fetch released data sets, check what was fetched."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from iapt.cli.configuration import check_keys, composed, groups, guarded, prepare, split_argument
from iapt.errors import ConfigError, DataError, closest
from iapt.tasks.base import SPLITS

HELP = """iapt-data: look at prompts, fetch released data sets, check what was fetched.

  iapt-data preview task=boolq [data=sample] [backbone=smollm2_135m] [split=train] [n=3] [max_length=2048]
      Prints the first n prompts with their token borders, and the lengths of the whole split.

  iapt-data fetch task=boolq,sst2 [out=FOLDER]        task=all for every data set with a release
      Downloads the releases pinned in configs/task/ to FOLDER/<data set>/ with a SHA-256 manifest.
      Without out= they go where data=hub looks for them. What is there and whole is left alone.

  iapt-data verify [FOLDER]
      Compares every data set in FOLDER with its manifest; needs no network.
"""
COMMANDS = ("preview", "fetch", "verify")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or {"-h", "--help", "help"} & set(words):
        print(HELP)
        return 0
    return guarded(lambda: _run(words[0], words[1:]))


def _run(command: str, words: list[str]) -> None:
    if command == "preview":
        _preview(words)
    elif command == "fetch":
        _fetch(words)
    elif command == "verify":
        _verify(words)
    else:
        raise ConfigError(
            f"iapt-data {command}: must be one of {', '.join(COMMANDS)}.{closest(command, COMMANDS)}"
        )


def _preview(words: list[str]) -> None:
    own, others = _own_values(words, {"n": "3", "split": "train", "max_length": "2048"})
    split = next((name for name in SPLITS if name == own["split"]), None)
    if split is None:
        raise ConfigError(
            f"split={own['split']}: must be one of {', '.join(SPLITS)}."
            f"{closest(own['split'], SPLITS)}"
        )
    n, max_length = (_whole_number(key, own[key]) for key in ("n", "max_length"))
    config = _compose(others)

    from iapt.backbone.load import BackboneConfig, load_tokenizer
    from iapt.data.preview import Tokens, preview
    from iapt.plan import build

    task, source = build(config["task"], "task"), build(config["data"], "data")
    backbone = BackboneConfig.from_mapping(config["backbone"])
    tokens = Tokens(
        tokenizer=load_tokenizer(backbone),
        template=backbone.template,
        bos=backbone.bos,
        max_length=min(max_length, backbone.dims.max_positions),
    )
    print(preview(task, source, tokens, split, n))


def _fetch(words: list[str]) -> None:
    own, others = _own_values(words, {"task": "", "out": ""})
    if others or not own["task"]:
        raise ConfigError(
            f"iapt-data fetch takes task= and out=, got {' '.join(words) or 'nothing'}. Such as: "
            "iapt-data fetch task=boolq,sst2 out=data"
        )
    names = groups()["task"] if own["task"] == "all" else own["task"].split(",")
    prepare([f"task={','.join(names)}"])  # refuses unknown names before anything is fetched

    from iapt.data.hub import Hub
    from iapt.plan import build_row_task

    hub = Hub(own["out"] or None)
    done: set[str] = set()
    for name in names:
        task = build_row_task(_compose([f"task={name}"])["task"])
        releases = task.releases()
        if not releases and own["task"] != "all":
            raise DataError(f"task={name} has no release in configs/task/{name}.yaml to fetch.")
        for dataset, release in releases.items():
            if dataset not in done:
                hub.fetch(dataset, release)
                rows = task.check_sizes(hub, dataset)
                print(f"{hub.path / dataset}: {rows}", flush=True)
                done.add(dataset)


def _verify(words: list[str]) -> None:
    from iapt.data.hub import Hub, verify

    if len(words) > 1 or (words and "=" in words[0]):
        raise ConfigError(f"iapt-data verify takes one folder, got {' '.join(words)}.")
    root = Path(words[0]).expanduser() if words else Hub().path
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


def _own_values(words: Sequence[str], defaults: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """Take this command's own key=value words; return them and the rest."""
    values, others = dict(defaults), []
    for word in words:
        key, value = split_argument(word)
        if key in defaults:
            if not value:
                raise ConfigError(f"argument {word!r}: expected {key}=value.")
            values[key] = value
        else:
            others.append(word)
    return values, others


def _whole_number(key: str, text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"{key}={text}: must be a whole number >= 1.")
    return int(text)


def _compose(words: Sequence[str]) -> dict[str, Any]:
    prepared = prepare(words)
    check_keys(prepared)
    return composed(prepared)


if __name__ == "__main__":
    sys.exit(main())
