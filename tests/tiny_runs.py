"""Small runs on tiny backbones, made as a user makes them, for tests of what they leave."""

import os
from pathlib import Path

from iapt.run import run
from tests.composed import composed

SMALL = (
    "task=sst2",
    "backbone=tiny_llama",
    "device=cpu",
    "hparams.batch_size=4",
    "hparams.max_steps=4",
    "hparams.eval_every=2",
    "hparams.lr=0.05",
    "limit.train=16",
    "limit.dev=4",
    "limit.test=6",
)
SIX_STEPS = (  # with three evaluations, and a checkpoint between them
    "task=sst2",
    "backbone=tiny_llama",
    "device=cpu",
    "hparams.batch_size=4",
    "hparams.max_steps=6",
    "hparams.eval_every=3",
    "hparams.checkpoint_every=2",
    "limit.train=24",
    "limit.dev=6",
    "limit.test=6",
)


def tiny_run(folder: Path, *overrides: str) -> Path:
    """Run in a working folder of its own; returns the run's folder."""
    before = Path.cwd()
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    try:
        given = {word.partition("=")[0] for word in overrides}
        kept = [word for word in SMALL if word.partition("=")[0] not in given]
        row = run(composed(*kept, *overrides))
        run_id = row["run_id"] if isinstance(row, dict) else row.run_id
    finally:
        os.chdir(before)
    return folder / "runs" / run_id
