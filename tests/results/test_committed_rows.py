"""Every figure of the committed small-scale table, computed again from the rows' JSON with numpy and scipy alone."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from iapt.reporting.choose import Scope
from iapt.reporting.scale import settle
from iapt.reporting.tables import score_table
from iapt.results.cells import collect
from iapt.results.row_files import read_rows

ROWS = Path(__file__).resolve().parents[2] / "results" / "rows"


def scores(run_ids: str) -> dict[int, list[float]]:
    """Seed -> item scores of some runs, read without the package."""
    found: dict[int, list[float]] = {}
    for run_id in run_ids.split():
        (file,) = ROWS.rglob(f"{run_id}.json")
        raw = json.loads(file.read_text())
        items = raw["scores"]["items"]
        assert raw["scores"]["value"] == pytest.approx(np.mean(items), abs=1e-6)
        found[raw["cell"]["seed"]] = items
    return found


def by_hand(table: np.ndarray) -> tuple[float, float, float]:
    """Mean, standard error and degrees of freedom by the two-way analysis of variance of docs/statistics.md."""
    seeds, items = table.shape
    mean, by_seed, by_item = float(table.mean()), table.mean(1), table.mean(0)
    left = table - by_seed[:, None] - by_item[None] + mean
    ms_item = seeds * ((by_item - mean) ** 2).sum() / (items - 1)
    if seeds == 1:
        return mean, np.sqrt(ms_item / items), items - 1
    ms_seed = items * ((by_seed - mean) ** 2).sum() / (seeds - 1)
    ms_rest = (left**2).sum() / ((seeds - 1) * (items - 1))
    v_seed, v_item, v_rest = np.array([ms_seed, ms_item, ms_rest]) / table.size
    squared = max(v_seed, v_rest) + max(v_item, v_rest) - v_rest
    share = max(v_seed, v_rest) / squared
    return mean, np.sqrt(squared), 1 / (share / (seeds - 1) + (1 - share) / (items - 1))


def interval(mean: float, error: float, df: float, least: float) -> tuple[float, float]:
    half = stats.t.ppf(0.975, df) * error
    return max(least, mean - half), min(100.0, mean + half)


def test_the_small_table_is_what_the_rows_say() -> None:
    rows, faults = read_rows(ROWS)
    assert faults == []
    cells = collect(rows)[0]
    document = score_table("table1", rows, cells, settle(Scope.called("small"), cells))
    records = [r for r in document.records if r["task"] == "sst2" and r["n_seeds"]]
    runs = {str(r["label"]): scores(str(r["run_ids"])) for r in records}
    assert len(runs) >= 5
    for r in records:
        ours, lora = runs[str(r["label"])], runs["LoRA"]
        table = np.array(list(ours.values()))
        assert r["n_seeds"] == len(table)
        assert r["median"] == pytest.approx(np.median(table.mean(1)))
        mean, error, df = by_hand(table)
        assert r["mean"] == pytest.approx(mean)
        assert (r["ci_low"], r["ci_high"]) == pytest.approx(interval(mean, error, df, 0.0))
        if ours is lora:
            continue
        shared = sorted(ours.keys() & lora.keys())
        apart = np.array([np.subtract(ours[seed], lora[seed]) for seed in shared])
        mean, error, df = by_hand(apart)
        assert r["minus_baseline"] == pytest.approx(mean)
        # With one seed and fewer items than 300, an exact test takes the place of t; here there are 300.
        assert (r["minus_low"], r["minus_high"]) == pytest.approx(interval(mean, error, df, -100.0))
        assert r["p"] == pytest.approx(2 * stats.t.sf(abs(mean) / error, df))
    known = sorted(
        (r for r in document.records if r["p"] is not None), key=lambda r: float(str(r["p"]))
    )
    largest = 0.0
    for rank, r in enumerate(known):  # Holm, over all comparisons of the table
        largest = max(largest, min(1.0, (len(known) - rank) * float(str(r["p"]))))
        assert r["p_holm"] == pytest.approx(largest)
