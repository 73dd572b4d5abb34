"""`iapt-bench`: the speed of decoding and training beside that of the usual libraries, in one run.

decode   bare, each method, transformers' `generate` bare and over a peft LoRA
table4   the same on Appendix G's instruction, with merged methods, and the limit that memory sets
tenants  batches whose rows have different adapters, beside peft's mixed batch
train    optimizer steps of each method beside transformers' Trainer over a peft LoRA, on the same rows; their
         share of the rate at which the machine multiplies matrices of these shapes; memory

Everything is written to BACKBONE.json; each part keeps the settings, machine and versions of its measurement.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iapt.cli.command import OWN_ENTRIES, Command, Key, Words
from iapt.cli.composing import from_words
from iapt.cli.overrides import groups, prepare
from iapt.cli.readers import boolean, numbers, one_of, some_of, whole
from iapt.errors import ConfigError, DataError
from iapt.files import expanded

if TYPE_CHECKING:
    from iapt.workbench import Bench

DTYPES = ("float32", "bfloat16")
POPULARITIES = ("identical", "distinct", "uniform", "zipf")
# What a benchmark has in place of a key's default.
OWN_DEFAULTS = {"tenants": {"instruction_tokens": 64, "new_tokens": 16}}
ALL = ("table4", "decode", "tenants", "train")

COMMAND = Command(
    name="iapt-bench",
    usage="[key=value ...]",
    purpose="Compare the speed and memory of decoding and training with those of other libraries.",
    at_most=0,
    keys=[
        Key("what", "decode: tokens per second; table4: the same as in Appendix G; tenants: rows with "
            "different adapters; train: seconds per step", ("decode", "train"),
            some_of(*ALL)),
        Key("backbone", "an entry of configs/backbone/", "smollm2_135m"),
        Key("task", "an entry of configs/task/, whose rows train the methods", "boolq"),
        Key("data", "the data: sample, hub or a folder", "sample"),
        Key("methods", "entries of configs/method/, or all (default: those of the paper's Table 4)", (), some_of(),
            shown="NAMES"),
        Key("beams", "beam sizes, 1 to 16", ("1", "3"), some_of(*map(str, range(1, 17)))),
        Key("instruction_tokens", "length of the instruction (Appendix G); tenants have 64", 274, whole(1)),
        Key("new_tokens", "length of the answer (Appendix G); tenants have 16", 32, whole(1)),
        Key("tenants", "tenants: rows of a batch", (1, 4, 16), numbers(1, 1024)),
        Key("pools", "tenants: number of adapters to draw from", (1, 100), numbers(1)),
        Key("popularity", f"tenants: {', '.join(POPULARITIES)}", ("identical", "distinct"),
            some_of(*POPULARITIES)),
        Key("recorded", "decode, table4: a GPU replays our steps as CUDA graphs", False, boolean),
        Key("weights", "random makes weights of the backbone's shape in memory, and rows, to measure speed only",
            "trained", one_of("trained", "random")),
        Key("batch", "train: examples per step", 16, whole(1)),
        Key("steps", "train: steps per repeat", 2, whole(1)),
        Key("dtypes", f"train: {', '.join(DTYPES)}, besides the backbone's own", ("auto",), some_of("auto", *DTYPES)),
        Key("repeats", "timed repeats", 3, whole(1)),
        Key("warmup", "repeats before timing starts", 1, whole()),
        Key("device", "auto, cpu, cuda or cuda:N", "auto"),
        Key("out", "the folder for BACKBONE.json", Path("results/bench"), expanded),
        *OWN_ENTRIES,
    ],
    notes="Everything: make bench\n"
    "The paper's Table 4 (a GPU): iapt-bench what=table4 backbone=llama2_7b\n"
    "The same without its weights: iapt-bench what=table4 backbone=llama2_7b weights=random repeats=2\n"
    "Many tenants: iapt-bench what=tenants tenants=1,2,4,8,16,32 pools=1,10,100,1000 repeats=3\n"
    "Every method's training step: iapt-bench what=train methods=all task=sst2",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return COMMAND.main(_bench, arguments)


def _bench(words: Words) -> None:
    settings = dict(words.values)
    if settings["methods"] == ("all",):
        settings["methods"] = tuple(groups(words.folders)["method"])
    chosen = [f"{key}={settings[key]}" for key in ("backbone", "task", "data", "device")]
    wanted = {what: _methods(what, words, settings) for what in settings["what"]}
    own = {
        what: {k: v for k, v in OWN_DEFAULTS.get(what, {}).items() if k not in words.given}
        for what in wanted
    }
    every = tuple(dict.fromkeys(name for names in wanted.values() for name in names))
    # Refuses unknown names before it imports torch.
    prepare(words.overrides(*chosen, f"method={','.join(every)}"))

    from iapt.files import check_writable, write_json

    check_writable(settings["out"])
    path = settings["out"] / f"{settings['backbone']}.json"
    report = _earlier(path)
    if "tenants" in wanted:
        _check_pools(settings)
    from iapt.benchmarks import BENCHMARKS
    from iapt.planning import make_plan
    from iapt.provenance import git_state, utc_now
    from iapt.workbench import Bench

    git_state()  # of the code that is measured, whatever is committed meanwhile
    plans = {
        name: make_plan(from_words(words.overrides(*chosen, f"method={name}"))) for name in every
    }
    positions = min(plan.positions for plan in plans.values())
    for what in wanted:
        if (
            what != "train" or settings["weights"] == "random"
        ):  # otherwise it has the texts of its rows
            _check_lengths(settings | own[what], positions)
    bench = Bench.load(settings, plans)
    print(
        f"{bench.name} on {bench.device}; medians of {settings['repeats']} repeats, taken in turn"
    )
    for what in wanted:
        this = bench.of(wanted[what], own[what])
        report[what] = BENCHMARKS[what](this) | _about(this) | {"created": utc_now()}
        write_json(path, report)
        _show(what, path, report)
    print(f"\nwritten: {path}")


def _earlier(path: Path) -> dict[str, Any]:
    """Return an earlier measurement, whose other parts are kept, each with its own settings; nothing if there is none.

    Raises:
        DataError: the file holds something else.
    """
    from iapt.files import read_json

    report = read_json(path) if path.is_file() else {}
    if not isinstance(report, dict):
        raise DataError(
            f"{path} is not a file of iapt-bench (it holds no mapping). Move it away, or give another out=FOLDER."
        )
    return report


def _methods(what: str, words: Words, settings: dict[str, Any]) -> tuple[str, ...]:
    """Return the methods that a benchmark compares."""
    if "methods" in words.given:
        return tuple(settings["methods"])
    from iapt.reporting.spec import load

    spec = load("table4")
    return tuple(spec["measured" if what == "table4" else "compared"])


def _check_lengths(settings: dict[str, Any], positions: int) -> None:
    """Refuse texts that do not fit into the positions of the backbone."""
    instruction, new = settings["instruction_tokens"], settings["new_tokens"]
    if instruction + new > positions:
        raise ConfigError(
            f"instruction_tokens={instruction} new_tokens={new}: together they have {instruction + new:,} tokens, but "
            f"the backbone has {positions:,} positions besides soft tokens; lower them."
        )


def _check_pools(settings: dict[str, Any]) -> None:
    """Refuse pools that are too small for every batch."""
    rows, pool = min(settings["tenants"]), max(settings["pools"])
    if set(settings["popularity"]) == {"distinct"} and rows > pool:
        raise ConfigError(
            f"tenants={rows} pools={pool} popularity=distinct: no pool has a tenant for each row, so there is nothing "
            f"to measure; use pools={rows} or more."
        )


def _about(bench: "Bench") -> dict[str, Any]:
    import torch

    from iapt.provenance import git_state, machine, versions

    left_out = {"what", "out", *(key.name for key in OWN_ENTRIES)}
    return {
        "settings": {k: v for k, v in bench.settings.items() if k not in left_out}
        | {"data": bench.plan.cell["data"]},  # as in a row: a folder by its name, not its path
        "device": str(bench.device),
        "dtype": bench.backbone.dtype_name,
        "machine": machine(bench.device),
        "threads": torch.get_num_threads(),
        "git": git_state(),
        "versions": versions(),
    }


def _show(what: str, path: Path, report: dict[str, Any]) -> None:
    """Write the table and the picture of a benchmark that has them, and print the table."""
    from iapt.files import write_text
    from iapt.reporting.benchmarks import DOCUMENTS
    from iapt.reporting.render import csv_text, markdown

    if what not in DOCUMENTS:
        return
    document, drawings = DOCUMENTS[what](path.stem, report[what])
    print(f"\n{markdown(document)}", end="")
    stem = path.with_name(f"{path.stem}-{what}")
    files = {".md": markdown(document), ".csv": csv_text(document)}
    for suffix, text in files.items():
        write_text(stem.with_name(stem.name + suffix), text)
    for name, drawing in drawings.items():
        write_text(path.with_name(name), drawing)


if __name__ == "__main__":
    sys.exit(main())
