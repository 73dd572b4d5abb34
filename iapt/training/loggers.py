"""Loggers: they receive the numbers of a run while it trains."""

import json
from pathlib import Path
from typing import IO, Any, Literal, Protocol


class RunLogger(Protocol):
    """Receives the numbers of one run; each run has its own."""

    def start(self, folder: Path, run_id: str, config: dict[str, Any]) -> None:
        """Begin, with the run's folder and the configuration of its row."""

    def log(self, values: dict[str, float], step: int) -> None:
        """Record values of one step."""

    def finish(self, ok: bool) -> None:
        """End, also after a failure or without a `start`."""


class Files:
    """Writes one JSON object per line to metrics.jsonl in the run's folder."""

    def __init__(self) -> None:
        self._file: IO[str] | None = None

    def start(self, folder: Path, run_id: str, config: dict[str, Any]) -> None:
        """Open the file; a resumed run appends."""
        self._file = (folder / "metrics.jsonl").open("a", encoding="utf-8")

    def log(self, values: dict[str, float], step: int) -> None:
        """Record values of one step."""
        if self._file is None:
            raise RuntimeError("log came before start")
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()

    def finish(self, ok: bool) -> None:
        """Close the file."""
        if self._file:
            self._file.close()


class Wandb(Files):
    """Also logs to Weights & Biases: one wandb run per run, resumed under the same id.

    Args:
        project: wandb project.
        mode: "offline" (default), "online" or "disabled".
    """

    def __init__(
        self,
        project: str = "iapt",
        mode: Literal["offline", "online", "disabled"] = "offline",
    ) -> None:
        super().__init__()
        self.project, self.mode = project, mode
        self._run: Any = None

    def start(self, folder: Path, run_id: str, config: dict[str, Any]) -> None:
        """Start or resume the wandb run."""
        super().start(folder, run_id, config)
        import wandb

        self._run = wandb.init(
            project=self.project, id=run_id, name=run_id, config=config, dir=str(folder), mode=self.mode,
            resume="allow", reinit="finish_previous",
        )  # fmt: skip

    def log(self, values: dict[str, float], step: int) -> None:
        """Record values of one step."""
        super().log(values, step)
        self._run.log(values, step=step)

    def finish(self, ok: bool) -> None:
        """Close both, and tell wandb whether the run succeeded."""
        super().finish(ok)
        if self._run:
            self._run.finish(exit_code=0 if ok else 1)
