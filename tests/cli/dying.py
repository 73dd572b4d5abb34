"""A method for tests of killed workers: its process kills itself in the run of one seed."""

import os
import signal
import time
from pathlib import Path

import torch

from iapt.methods.base import Progress
from iapt.methods.bitfit import BitFit

STEP = 3


class Dying(BitFit):
    """Seed 0 gets the signal named in the file `dies`, if there is one, or its parent does; the others wait."""

    def on_step_start(self, progress: Progress) -> None:
        """Die, or wait for the death."""
        super().on_step_start(progress)
        dies, died = Path("dies"), Path("died")
        if progress.step != STEP or not dies.exists():
            return
        if torch.initial_seed() == 0:
            died.touch()
            name, _, parent = dies.read_text().partition(" ")
            os.kill(os.getppid() if parent else os.getpid(), getattr(signal, name))
        while not died.exists():
            time.sleep(0.05)
        time.sleep(5)  # until the launcher has noticed
