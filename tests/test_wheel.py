"""The wheel works without the checkout: commands, configurations, sample rows and the paper's values travel in it."""

import json
import os
import shutil
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


def outside(installed: Path, folder: Path, command: str, *words: str) -> str:
    """Run a console script of the installed package in a folder that has nothing of the checkout."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    environment["PYTHONPATH"] = str(installed)
    done = subprocess.run(
        [sys.executable, str(installed / "bin" / command), *words],
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
    assert "iapt-table" in outside(installed, tmp_path, "iapt-table", "--help")
    outside(
        installed,
        tmp_path,
        "iapt-train",
        *("task=sst2", "method=lora", "backbone=tiny_llama", "hparams.max_steps=2"),
        *("limit.train=32", "limit.dev=8", "limit.test=8"),
    )
    (row,) = (tmp_path / "results" / "rows").glob("*.json")
    assert str(installed) not in row.read_text()
    assert "lora" in outside(installed, tmp_path, "iapt-table", "summary")
    assert "94.3" in outside(installed, tmp_path, "iapt-table", "table1")
    report = outside(installed, tmp_path, "iapt-report", "runs=runs")
    assert "report.html" in report
    assert (tmp_path / "results" / "report.html").is_file()


@pytest.mark.slow
def test_a_method_and_a_task_of_ones_own_go_from_training_to_the_report(
    installed: Path, tmp_path: Path
) -> None:
    shutil.copytree(Path(__file__).parent / "plugins_example", tmp_path, dirs_exist_ok=True)
    own = ("--config-dir", ".", "plugins=my_methods", "task=task/colours.yaml", "data=rows")
    short = (
        *("backbone=tiny_llama", "device=cpu", "hparams.max_steps=2", "hparams.batch_size=2"),
        *("limit.train=8", "limit.dev=2", "limit.test=2"),
    )
    outside(installed, tmp_path, "iapt-train", *own, *short, "method=head_gain")
    said = outside(
        installed, tmp_path, "iapt-sweep", *own, *short, "method=head_gain,bitfit", "seed=0,1"
    )
    assert "4 runs: 4 finished" in said
    rows = [json.loads(f.read_text()) for f in (tmp_path / "results" / "rows").glob("*.json")]
    assert sorted(row["cell"]["method"] for row in rows) == ["bitfit"] * 2 + ["head_gain"] * 2
    tables = outside(installed, tmp_path, "iapt-table", "summary", "rates", "params", *own[:3])
    assert tables.count("head_gain") >= 3
    assert "colours" in tables
    outside(installed, tmp_path, "iapt-report", "runs=runs")
    page = (tmp_path / "results" / "report.html").read_text()
    assert "head_gain" in page
    assert "colours" in page
