"""The wheel works without the checkout: commands, configurations, sample rows and the paper's values travel in it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the unpacked wheel; its own copy of the sources keeps the checkout clean."""
    place = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    alone = ["--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run(
        [*pip, "wheel", *alone, "--wheel-dir", str(place), str(ROOT)], check=True, timeout=300
    )
    (wheel,) = place.glob("iapt-*.whl")
    target = place / "site"
    subprocess.run(
        [*pip, "install", *alone, "--target", str(target), str(wheel)], check=True, timeout=300
    )
    return target


def outside(installed: Path, folder: Path, module: str, *words: str) -> str:
    """Run a command of the installed package in a folder that has nothing of the checkout."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    environment["PYTHONPATH"] = str(installed)
    done = subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_wheel_trains_and_makes_tables_outside_the_checkout(
    installed: Path, tmp_path: Path
) -> None:
    where = outside(installed, tmp_path, "iapt.cli.table", "--help")
    assert "iapt-table" in where
    outside(
        installed,
        tmp_path,
        "iapt.cli.train",
        *("task=sst2", "method=lora", "backbone=tiny_llama", "hparams.max_steps=2"),
        *("limit.train=32", "limit.dev=8", "limit.test=8"),
    )
    (row,) = (tmp_path / "results" / "rows").glob("*.json")
    assert str(installed) not in row.read_text()
    assert "lora" in outside(installed, tmp_path, "iapt.cli.table", "summary")
    assert "94.3" in outside(installed, tmp_path, "iapt.cli.table", "table1")
    report = outside(installed, tmp_path, "iapt.cli.report", "runs=runs")
    assert "report.html" in report
    assert (tmp_path / "results" / "report.html").is_file()
