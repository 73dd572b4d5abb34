"""The Python files that make up a user's module: its own, and those beside it that it imports.

The imports are read from the text, so the answer does not depend on what has been imported before.
"""

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

INSTALLED = {"site-packages", "dist-packages"}  # beside a module there lies everything


def code_of(file: Path, folders: Sequence[Path]) -> list[Path]:
    """Return all files of a module's code, its own first.

    Args:
        file: the module's file, which is `__init__.py` for a package.
        folders: where its imports may lie; installed modules, and this package, do not count.
    """
    own = _whole(file)
    found = dict.fromkeys(own)
    near = [folder for folder in folders if not INSTALLED.intersection(folder.parts)]
    todo = list(own) if near else []
    while todo:
        for imported in _imported(todo.pop(), near):
            if imported not in found:
                found[imported] = None
                todo.append(imported)
    return [*own, *sorted(set(found).difference(own))]


def _whole(file: Path) -> list[Path]:
    return sorted(file.parent.rglob("*.py")) if file.name == "__init__.py" else [file]


def _imported(file: Path, folders: Sequence[Path]) -> Iterator[Path]:
    """Yield the files in these folders that a file imports."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, OSError):  # importing it tells why
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _found(alias.name, folders)
        elif isinstance(node, ast.ImportFrom):
            places = [file.parents[node.level - 1]] if node.level else folders
            for alias in node.names:
                yield from _found(f"{node.module or ''}.{alias.name}".strip("."), places)


def _found(name: str, folders: Sequence[Path]) -> Iterator[Path]:
    """Yield the files of a dotted name, whose last part may be something inside a module."""
    parts = name.split(".")
    if parts[0] == "iapt":
        return
    for folder in folders:
        for count in range(1, len(parts) + 1):
            place = folder.joinpath(*parts[:count])
            if place.joinpath("__init__.py").is_file():
                yield from _whole(place / "__init__.py")
            elif place.with_name(f"{place.name}.py").is_file():
                yield place.with_name(f"{place.name}.py")
