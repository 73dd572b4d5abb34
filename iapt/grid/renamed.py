"""Results under other hashes: a change of code, settings or data must not quietly run a grid again."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from pathlib import Path
from typing import Any

from iapt.configuration.identity import distinctive
from iapt.errors import DataError
from iapt.files import read_json
from iapt.grid.cells import Cell
from iapt.grid.manifest import read_manifest, sweeps
from iapt.plan import OUTSIDE
from iapt.results.row_files import read_row, row_path

HASH = 8  # hex digits at the end of a run's name
SHOWN = 6


def warning(cells: Sequence[Cell]) -> str:
    """Return a warning if cells that are left to run have results of the same names under other hashes.

    A difference in keys that the command or its experiment's grid gives, such as another `hparams.lr`, is no
    reason to warn, and neither is another cell of the same sweep.

    Args:
        cells: the cells of a sweep that is about to begin.

    Returns:
        A text with the number of such cells, and the keys in which their configurations differ; empty if there
        are none.
    """
    left = [cell for cell in cells if not _row(cell).is_file()]
    known, ours = _Earlier(left), {cell.plan.run_id for cell in cells}
    given = {word.partition("=")[0].lstrip("+") for cell in cells for word in cell.words}
    differing, found = Counter[str](), 0
    for cell in left:
        others = [_differences(cell.plan.config, config) for config in known.configs(cell, ours)]
        if not others:
            continue
        keys = min(others, key=len)
        if keys and given.issuperset(keys):
            continue
        found += 1
        differing.update(keys or ["nothing in the configuration"])
    if not found:
        return ""
    some = ", ".join(f"{key} ({count})" for key, count in differing.most_common(SHOWN))
    more = f" and {len(differing) - SHOWN} more keys" if len(differing) > SHOWN else ""
    return (
        f"{found} of {len(left)} runs left to do were begun or finished before under another hash (same "
        "task, backbone, method, hparams, data and seed, or the same words), by another version of the code, "
        f"settings or data; they run again. What differs (in how many): {some}{more}."
    )


class _Earlier:
    """Finds earlier runs of cells: by their names without the hash, or by their words in manifests."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._by_name: dict[Path, dict[str, list[Path]]] = {}
        self._by_words: dict[Path, dict[tuple[str, ...], set[tuple[Path, Path]]]] = {}
        for cell in cells:
            for folder in (Path(cell.plan.config["rows"]), Path(cell.plan.config["out"])):
                if folder not in self._by_name:
                    self._by_name[folder] = _listed(folder)
            if folder not in self._by_words:
                self._by_words[folder] = _worded(folder)

    def configs(self, cell: Cell, ours: Set[str]) -> Iterator[dict[str, Any]]:
        """Yield the configurations of runs that may be earlier runs of a cell, but are none of ours."""
        out, rows = Path(cell.plan.config["out"]), Path(cell.plan.config["rows"])
        name = cell.plan.run_id[:-HASH]
        pairs = {(path, out / path.stem) for path in self._by_name[rows].get(name, ())}
        pairs |= {(row_path(rows, p.name), p) for p in self._by_name[out].get(name, ())}
        pairs |= self._by_words[out].get(cell.words, set())
        for row, folder in sorted(pairs):
            if folder.name not in ours:
                with suppress(DataError):
                    yield read_row(row).config if row.is_file() else _config(folder)


def _row(cell: Cell) -> Path:
    return row_path(Path(cell.plan.config["rows"]), cell.plan.run_id)


def _listed(folder: Path) -> dict[str, list[Path]]:
    """Return the rows or run folders in a folder, by their names without the hash."""
    found = defaultdict(list)
    if folder.is_dir():
        for path in folder.iterdir():
            name = path.name.removesuffix(".json")
            if "--" in name:
                found[name[:-HASH]].append(path)
    return found


def _worded(out: Path) -> dict[tuple[str, ...], set[tuple[Path, Path]]]:
    """Return the row file and the run folder of the cells in earlier manifests, by their words."""
    found = defaultdict(set)
    for folder in sweeps(out):
        with suppress(DataError):
            manifest = read_manifest(folder)
            for cell in manifest.cells:
                found[cell.words].add((manifest.row_file(cell), manifest.folder(cell)))
    return found


def _config(folder: Path) -> dict[str, Any]:
    """Read the configuration that a run left."""
    config = read_json(folder / "config.json")
    if not isinstance(config, dict):
        raise DataError(f"{folder / 'config.json'}: must be a mapping.")
    return config


def _differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Return the dotted keys in which two configurations differ, without those that do not identify a run."""
    plain = json.loads(json.dumps(ours, default=str))
    a, b = (_flat(distinctive(_identity(config))) for config in (plain, theirs))
    return sorted(key for key in {**a, **b} if key not in a or key not in b or a[key] != b[key])


def _identity(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in OUTSIDE}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
