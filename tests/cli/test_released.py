"""Sizes of Table 6 from the configuration alone."""

from pathlib import Path

import pytest

from iapt.cli.released import released_splits


def test_rules_and_released_sizes_make_the_papers_splits_without_data() -> None:
    found = released_splits(["rte", "sst2", "gsm8k", "wikisql", "alpaca"])

    assert found["rte"] == (
        {"train": 2490, "dev": 138, "test": 139},
        "dev and test are the halves of validation",
    )
    assert found["sst2"][0] == {"train": 66_349, "dev": 1000, "test": 872}
    assert found["gsm8k"] == (
        {"train": 6973, "dev": 500, "test": 1319},
        "dev is 500 rows of train, test is test",
    )
    assert found["wikisql"] == ({"train": 56_355, "dev": 8421, "test": 15_878}, "as released")
    assert found["alpaca"][0] == {"train": 50_760, "dev": 1000, "test": 80}


def test_table_6_needs_no_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from iapt.cli.table import main

    assert main(["table6", f"rows={tmp_path}", "out=none"]) == 0
    shown = capsys.readouterr().out
    assert "66,349 [66k]" in shown
    assert "50,760 [50k]" in shown
    assert "80 [80]" in shown
