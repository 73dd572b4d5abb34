"""Where files that can be made again are kept."""

import os
from pathlib import Path


def cache_root() -> Path:
    """Return `$IAPT_CACHE`, else `$XDG_CACHE_HOME/iapt`, else `~/.cache/iapt`."""
    if os.environ.get("IAPT_CACHE"):
        return Path(os.environ["IAPT_CACHE"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "iapt"
