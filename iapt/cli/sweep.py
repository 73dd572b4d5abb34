"""`iapt-sweep`: a grid of runs over seeds 0-4, through Hydra's multirun and any of its launchers.

Finished cells are skipped, so the same command again fills gaps; a failed run does not stop the others
and is named at the end.
"""

import json
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from iapt.cli.configuration import check_keys, groups, guarded, help_text, prepare, split_argument
from iapt.errors import IaptError

EXAMPLES = (
    "iapt-sweep task=boolq,sst2 method=iapt,lora",
    "iapt-sweep task=boolq method=all seed=0",
    "iapt-sweep task=boolq method=iapt hydra/launcher=submitit_slurm   # with hydra-submitit-launcher installed",
)
SEEDS = "seed=0,1,2,3,4"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code (1 if a run failed)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if {"-h", "--help", "help"} & set(words):
        print(
            help_text(
                "iapt-sweep",
                "run a grid (comma-separated values) over seeds 0-4; resumes.",
                EXAMPLES,
            )
        )
        return 0
    return guarded(lambda: _sweep(words))


def _sweep(words: list[str]) -> None:
    keys = {split_argument(w)[0] for w in words}
    words = [_expand(w) for w in words] + ([] if "seed" in keys else [SEEDS])
    prepared = prepare(words)
    check_keys(prepared)
    from iapt.cli.train import run_hydra

    folder = _folder(prepared)
    run_hydra(_job, ["--multirun", *prepared, f"hydra.sweep.dir='{folder}'"])
    # Every job left its status in the sweep's folder, whichever machine it ran on.
    states = [
        json.loads(p.read_text())
        for p in sorted(folder.glob("*/status.json"), key=lambda p: int(p.parent.name))
    ]
    failed = [s for s in states if s["status"] == "failed"]
    print(f"\n{len(states)} runs: {len(states) - len(failed)} finished, {len(failed)} failed.")
    for state in failed:
        print(f"  failed: {state['run']}\n    {state['error']}")
    if failed:
        raise IaptError("some runs failed; the same command again runs only those.")
    print(
        "Tables: iapt-table summary (all settings), iapt-table table1 (the paper's setting only)."
    )


def _job(config: Any) -> None:
    """One run of the grid; never raises, so that the others go on."""
    import traceback

    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    folder = Path(HydraConfig.get().runtime.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    values = OmegaConf.to_container(config, resolve=True)
    assert isinstance(values, dict)
    name = " ".join(HydraConfig.get().overrides.task)
    print(f"\n=== run {folder.name}: {name}", flush=True)
    state = {"status": "finished", "run": name, "error": ""}
    try:
        from iapt.run import run

        row = run({str(k): v for k, v in values.items()})
        state["run"] = row.run_id if row else name
    except Exception as error:  # noqa: BLE001  # named at the end; the traceback is in the run's failed.txt
        state |= {"status": "failed", "error": f"{type(error).__name__}: {error}"}
        if not isinstance(error, IaptError):
            traceback.print_exc()
        else:
            print(f"error: {error}", file=sys.stderr)
    (folder / "status.json").write_text(json.dumps(state))


def _expand(word: str) -> str:
    key, value = split_argument(word)
    return f"{key}={','.join(groups()[key])}" if value == "all" and key in groups() else word


def _folder(prepared: Sequence[str]) -> Path:
    """A folder of this sweep alone, also beside one that starts in the same second."""
    given = dict(split_argument(p) for p in prepared)
    if given.get("hydra.sweep.dir"):
        return Path(str(given["hydra.sweep.dir"]))
    start = datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    return Path(given.get("out") or "runs") / "sweeps" / f"{start}-{os.getpid()}"


if __name__ == "__main__":
    sys.exit(main())
