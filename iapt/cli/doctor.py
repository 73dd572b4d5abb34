"""`iapt-doctor`: what this machine can do, line by line, and how to provide what is missing."""

import json
import sys
from collections.abc import Sequence

from iapt.cli.command import OWN_ENTRIES, Command, Words
from iapt.errors import IaptError

MARKS = {"good": "✓", "absent": "-", "bad": "✗"}
COMMAND = Command(
    name="iapt-doctor",
    usage="[key=value ...]",
    purpose="Show what this machine can do, and how to provide what is missing. With arguments of iapt-train, also "
    "says whether that run could start here: iapt-doctor experiment=paper. Without --network, it downloads and "
    "writes nothing.",
    keys=OWN_ENTRIES,
    takes_others=True,
    flags={
        "--json": "print all of it as JSON",
        "--network": "also ask the hub whether the backbone is accessible; its list of files stays in the cache",
    },
    notes="Marks: ✓ present, - absent but optional, ✗ a problem. The exit code is 1 if there is a problem.",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code (1 if there is a problem)."""
    # Without words it examines the default run.
    return COMMAND.main(_examine, list(sys.argv[1:] if arguments is None else arguments))


def _examine(words: Words) -> None:
    from iapt.cli.checkup import checkup
    from iapt.cli.composing import from_words

    findings = checkup(from_words(words.overrides()), network="--network" in words.flags)
    if "--json" in words.flags:
        print(json.dumps([vars(f) for f in findings], indent=1, ensure_ascii=False))
    else:
        for finding in findings:
            todo = f" → {finding.todo}" if finding.todo else ""
            print(f"  {MARKS[finding.state]} {finding.name:<12} {finding.text}{todo}")
    bad = [finding.name for finding in findings if finding.state == "bad"]
    if bad:
        raise IaptError(f"in the way: {', '.join(bad)}.")


if __name__ == "__main__":
    sys.exit(main())
