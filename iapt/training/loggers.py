"""Loggers: they receive the numbers of a run while it trains."""

import json
import os
from contextlib import suppress
from itertools import islice
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import IO, Any, Literal, Protocol, runtime_checkable
from urllib.parse import urlsplit

from pydantic import NonNegativeInt

from iapt.files import storing
from iapt.results.row import Row
from iapt.results.run_folder import predictions

LONGEST_ID, LONGEST_TAG = 128, 64  # wandb's limits


class RunLogger(Protocol):
    """Receives the numbers of one run; each run has its own."""

    def start(self, folder: Path, run_id: str, config: dict[str, Any]) -> None:
        """Begin, with the run's folder and the configuration of its row."""

    def log(self, values: dict[str, float], step: int) -> None:
        """Record values of one step."""

    def finish(self, ok: bool) -> None:
        """End, also after a failure or without a `start`."""


@runtime_checkable
class Concluding(Protocol):
    """A logger that also takes the result of a finished run."""

    def conclude(self, row: Row, folder: Path) -> None:
        """Record a run's row; `folder` has its predictions and its adapter."""


class Files:
    """Writes one JSON object per line to metrics.jsonl in the run's folder."""

    def __init__(self) -> None:
        self._file: IO[str] | None = None

    def start(self, folder: Path, run_id: str, config: dict[str, Any]) -> None:
        """Open the file; a resumed run appends."""
        path = folder / "metrics.jsonl"
        with storing(path):
            self._file = path.open("a", encoding="utf-8")

    def log(self, values: dict[str, float], step: int) -> None:
        """Record values of one step."""
        if self._file is None:
            raise RuntimeError("log came before start")
        with storing(Path(self._file.name)):
            self._file.write(json.dumps({"step": step, **values}) + "\n")
            self._file.flush()

    def finish(self, ok: bool) -> None:
        """Close the file."""
        if self._file:
            with suppress(OSError):  # a full disk, which `log` has reported
                self._file.close()


class Wandb(Files):
    """Also logs to Weights & Biases: one wandb run per run, resumed under the same id.

    The seeds of a cell are one group; task, method, backbone and preset are tags. A finished run adds its
    result, and a sample of its predictions as a table.

    Args:
        project: wandb project.
        mode: "auto" (default: online where wandb knows an account, else offline; `WANDB_MODE` takes
            precedence), "offline", "online" or "disabled".
        predictions: the most predictions in the table; 0 for none.
        adapter: keep the trained adapter as an artefact.
    """

    def __init__(
        self,
        project: str = "iapt",
        mode: Literal["auto", "offline", "online", "disabled"] = "auto",
        predictions: NonNegativeInt = 200,
        adapter: bool = True,
    ) -> None:
        super().__init__()
        self.project, self.mode = project, mode
        self.predictions, self.adapter = predictions, adapter
        self._run: Any = None

    def start(self, folder: Path, run_id: str, config: dict[str, Any]) -> None:
        """Start or resume the wandb run."""
        super().start(folder, run_id, config)
        import wandb

        mode = None if self.mode == "auto" else self.mode
        if mode is None and not os.environ.get("WANDB_MODE"):  # None leaves it to the variable
            mode = "online" if account() else "offline"
        entries = (config.get(group) for group in ("task", "method", "backbone", "hparams"))
        names = [str(e["name"]) for e in entries if isinstance(e, dict) and "name" in e]
        if config.get("variant"):
            names.append(str(config["variant"]))
        self._run = wandb.init(
            project=self.project, id=run_id[-LONGEST_ID:], name=run_id, config=config, dir=str(folder), mode=mode,
            group=run_id.rpartition("--seed")[0][:LONGEST_ID] or None, job_type="train",
            tags=[name[:LONGEST_TAG] for name in names], resume="allow", reinit="finish_previous",
        )  # fmt: skip

    def log(self, values: dict[str, float], step: int) -> None:
        """Record values of one step."""
        super().log(values, step)
        self._run.log(values, step=step)

    def conclude(self, row: Row, folder: Path) -> None:
        """Add a finished run's result, predictions and adapter."""
        import wandb

        self._run.summary.update(
            {
                f"test/{row.scores.metric}": row.scores.value,
                **{f"test/{name}": value for name, value in row.scores.details.items()},
                "test/score": row.scores.value,  # under one name for every task
                "test/n": row.scores.n,
                "test/unparsed": row.scores.n_unparsed,
                "dev/best_loss": row.dev.best_loss,
                "dev/best_accuracy": row.dev.best_accuracy,
                "params/trained": row.params.trained,
                "params/active_at_decode": row.params.active_at_decode,
                "peak_memory_mib": row.peak_memory_mib,
                "tokens_per_second": row.tokens_per_second,
                "seconds/total": row.seconds.total,
                "setting": row.setting_hash,
                "device": row.device,
            }
        )
        found = list(islice(predictions(folder), self.predictions))
        if found:
            columns: list[str | int] = ["id", "output", "parsed", "references"]
            rows = [[p.id, p.output, p.parsed, "\n".join(p.references)] for p in found]
            self._run.log({"predictions": wandb.Table(columns=columns, data=rows)})
        if self.adapter:
            artefact = wandb.Artifact(f"adapter-{row.config_hash}", type="adapter")
            artefact.add_dir(str(folder / "adapter"))
            self._run.log_artifact(artefact)

    def finish(self, ok: bool) -> None:
        """Close both, and tell wandb whether the run succeeded."""
        super().finish(ok)
        if self._run:
            self._run.finish(exit_code=0 if ok else 1)


def account() -> bool:
    """Say whether wandb knows an account on this machine; the key is not read."""
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").hostname or ""
    if os.environ.get("WANDB_API_KEY"):
        return True
    with suppress(OSError, NetrcParseError, UnicodeDecodeError):  # it may be missing, or no netrc
        return netrc(os.environ.get("NETRC")).authenticators(host) is not None
    return False
