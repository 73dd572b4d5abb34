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
    """Seed 0 gets the signal named in the file `dies`, if there is one; the others wait until it is over."""

    def on_step_start(self, progress: Progress) -> None:
        """Die, or wait for the death."""
        super().on_step_start(progress)
        dies, died = Path("dies"), Path("died")
        if progress.step != STEP or not dies.exists():
            return
        if torch.initial_seed() == 0:
            died.touch()
            os.kill(os.getpid(), getattr(signal, dies.read_text()))
        while not died.exists():
            time.sleep(0.05)
        time.sleep(1)  # until the launcher has noticed
