"""Hand-made result rows."""

import copy
import json
from pathlib import Path
from typing import Any

from iapt.grid.cells import Cell
from iapt.plan import OUTSIDE
from iapt.results.row import Row
from iapt.results.row_files import write_row

CONFIG: dict[str, Any] = {
    "limit": {"train": None, "dev": None, "test": None},
    "hparams": {"lr": 1.0e-4, "batch_size": None},
}


def raw_row(
    task: str = "boolq",
    method: str = "iapt",
    seed: int = 0,
    value: float = 87.5,
    *,
    backbone: str = "llama2_7b",
    hparams: str = "paper",
    data: str = "hub",
    variant: str = "",
    setting: str = "5e771116aaaa",
    created: str = "2026-11-23T22:50:00Z",
    numbers: dict[str, Any] | None = None,
    facts: dict[str, Any] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """A row as a run writes it.

    `numbers` are the method's, `facts` go under the row's "backbone", `changes` replace whole keys.
    """
    row: dict[str, Any] = {
        "schema": 1,
        "status": "finished",
        "run_id": f"{task}--{backbone}--{method}{variant}--{hparams}--seed{seed}--{setting}",
        "cell": {
            "task": task,
            "backbone": backbone,
            "method": method,
            "hparams": hparams,
            "data": data,
            "seed": seed,
            "variant": variant,
        },
        "config": copy.deepcopy(CONFIG) | {"method": {"name": method, **(numbers or {})}},
        "config_hash": "c0ffee",
        "setting_hash": setting,
        "scores": {"metric": "acc", "value": value, "n": 1635, "n_unparsed": 2, "details": {}},
        "dev": {
            "curve": [
                {"step": 0, "loss": 2.1, "accuracy": 40.0},
                {"step": 20, "loss": 0.4, "accuracy": value},
            ],
            "majority_accuracy": 62.0,
        },
        "params": {"trained": 9_994_240},
        "data": {"fingerprint": "f00d", "sizes": {"train": 9427, "dev": 1635, "test": 1635}},
        "backbone": facts or {"dtype": "float32"},
        "decoding": {"num_beams": 3, "max_new_tokens": 4},
        "seconds": {"per_step": 2.1},
        "peak_memory_mib": 1500.0,
        "created": created,
    }
    return row | changes


def a_row(*arguments: Any, **changes: Any) -> Row:
    raw = raw_row(*arguments, **changes)
    return parse(raw)


def parse(raw: dict[str, Any]) -> Row:
    """A row as it would be read, with a path of its own."""
    row = Row.model_validate_json(json.dumps(raw))
    return row.model_copy(update={"path": Path(raw["run_id"] + raw["created"])})


def bare(row: Row) -> Row:
    """The row with the fields that every row must have, and no others."""
    needed = {
        name: getattr(row, name) for name, field in Row.model_fields.items() if field.is_required()
    }
    return Row(**needed, path=row.path)


def five(task: str, method: str, values: list[float], **changes: Any) -> list[Row]:
    """Rows of seeds 0, 1, 2 … with the given scores."""
    return [a_row(task, method, seed, value, **changes) for seed, value in enumerate(values)]


def store(folder: Path, raws: list[dict[str, Any]]) -> Path:
    for raw in raws:
        write_row(folder, parse(raw))
    return folder


def row_of_cell(cell: Cell, **values: Any) -> Row:
    """A row of a planned cell's run; `values` are its numbers."""
    plan = cell.plan
    raw = raw_row(backbone=plan.backbone.name) | {
        "run_id": plan.run_id,
        "cell": plan.cell,
        "config": {key: value for key, value in plan.config.items() if key not in OUTSIDE},
        "config_hash": plan.config_hash,
        "cell_hash": plan.cell_hash,
        "setting_hash": plan.setting_hash,
    }
    return Row.model_validate(raw | values, strict=False)
