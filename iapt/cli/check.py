"""`iapt-sweep check`: the state of a sweep, from its manifest and the files on the disk."""

import json
from pathlib import Path

from iapt.cli.command import Command, Key, Words
from iapt.errors import ConfigError, IncompleteError, printable
from iapt.files import expanded

COMMAND = Command(
    "iapt-sweep check",
    "[FOLDER] [--json]",
    "Show the state of every cell of a sweep: finished, running, interrupted, failed, killed or planned. "
    "Works while the sweep runs and after it was killed, on any machine that sees its folders.",
    at_most=1,
    keys=(
        Key(
            "out", "where to look for FOLDER if it is `latest`, the default", Path("runs"), expanded
        ),
    ),
    flags={"--json": "print all of it as JSON"},
    notes="FOLDER is the folder of a sweep, such as runs/sweeps/20260131-090000-000000-7.\n"
    "The exit code is 0 if all cells are finished, 3 if some are not, 1 if FOLDER cannot be read.",
)


def check(words: Words) -> None:
    """Run the command.

    Raises:
        IncompleteError: some cells are not finished.
        ConfigError: there is no sweep.
        DataError: the manifest is damaged.
    """
    from iapt.grid.manifest import read_manifest, sweeps
    from iapt.grid.states import as_json, counted, described, is_complete, states_of

    name = words.names[0] if words.names else "latest"
    folder = Path(name)
    if name == "latest":
        latest = next(sweeps(words["out"]), None)
        if latest is None:
            raise ConfigError(f"out={words['out']}: no sweep with a manifest in it; give FOLDER.")
        folder = latest
    manifest = read_manifest(folder)
    states = states_of(manifest)
    if "--json" in words.flags:
        print(json.dumps(as_json(manifest, states), indent=1, ensure_ascii=False))
    else:
        began = manifest.created.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        head = f"{folder}, begun {began}: iapt-sweep {' '.join(manifest.command)}"
        print(printable("\n".join([head, *described(states), counted(states)])))
    if not is_complete(states):
        left = sum(s.now.state != "finished" for s in states)
        raise IncompleteError(f"not finished: {left} of {len(states)} runs.")
