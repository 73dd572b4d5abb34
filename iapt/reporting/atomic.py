"""Write a file so that a reader sees the old text or the new one, never half of it."""

import os
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8 through a temporary file in the same folder and ``os.replace``.

    Characters that UTF-8 cannot hold (lone surrogates in a model's output) become ``?``.

    Args:
        path: File to create or replace; missing parent folders are made.
        text: Its whole content.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The leading dot and the .tmp ending keep a file left by a crash out of every "*.json" pattern.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
