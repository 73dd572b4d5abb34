"""iapt: reproduce, check and extend "IAPT: Instruction-Aware Prompt Tuning" (ACL 2024).

    model = iapt.load_run("runs/...")                    # what a run trained
    tenants = iapt.Tenants.load({"anna": "runs/..."})    # many adapters over one backbone
    iapt.rows("results/rows"), iapt.predictions("runs/...")    # data frames
    iapt.pairs("results/rows")                           # every pair of methods compared

Each name is imported when it is first used, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from iapt.backbone.base import Backbone
    from iapt.methods.base import Method
    from iapt.results.frames import pairs, predictions, rows
    from iapt.trained.model import TrainedModel, load_run
    from iapt.trained.tenants import Tenants

_WHERE = {
    "Backbone": "iapt.backbone.base",
    "Method": "iapt.methods.base",
    "Tenants": "iapt.trained.tenants",
    "TrainedModel": "iapt.trained.model",
    "load_run": "iapt.trained.model",
    "pairs": "iapt.results.frames",
    "predictions": "iapt.results.frames",
    "rows": "iapt.results.frames",
}

__all__ = [
    "Backbone",
    "Method",
    "Tenants",
    "TrainedModel",
    "__version__",
    "load_run",
    "pairs",
    "predictions",
    "rows",
]


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(
            f"module 'iapt' has no attribute {name!r}; it has {', '.join(__all__)}"
        )
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
