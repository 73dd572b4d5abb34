"""The Python lines of README.md and docs/adapters.md, run as they stand where a run was made as they say."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.tiny_runs import tiny_run

ROOT = Path(__file__).parents[1]


def python_blocks(page: str, heading: str) -> list[str]:
    """The fenced Python blocks of a section."""
    text = (ROOT / page).read_text(encoding="utf-8")
    section = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)


def printed(lines: str, folder: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", lines],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_lines_of_the_readme_run_on_the_first_run(tmp_path: Path):
    tiny_run(tmp_path, "task=boolq", "method=iapt")  # make quickstart's words, on a tiny backbone
    (block,) = python_blocks("README.md", "Use what you trained")
    assert len(block.strip().splitlines()) <= 15
    trained, bare, dev, other, tenants = printed(block, tmp_path)
    assert trained.startswith("[")
    assert trained != bare
    assert "metric='acc'" in dev
    assert "n=4" in dev, "the run's own limit"
    assert "n=8" in other
    assert len(ast.literal_eval(tenants)) == 2


def test_the_lines_of_the_page_on_adapters_run(tmp_path: Path):
    for method in ("lora", "iapt"):
        tiny_run(tmp_path, f"method={method}")
    page = "docs/adapters.md"
    blocks = python_blocks(page, "In Python") + python_blocks(
        page, "Many adapters over one backbone"
    )
    assert len(blocks) == 2
    printed("\n".join(blocks), tmp_path)


def test_what_the_readme_links_to_is_there():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    assert len(links) > 5
    for link in links:
        assert (ROOT / link).exists(), link


def test_the_commands_of_the_readme_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    scripts = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    targets = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in set(re.findall(r"\biapt-[a-z]+\b", text)):
        assert f"{command} = " in scripts, command
    for target in set(re.findall(r"^make ([a-z0-9-]+)", text, flags=re.MULTILINE)):
        assert re.search(rf"^[a-z0-9 -]*\b{target}\b[a-z0-9 -]*:", targets, flags=re.MULTILINE), (
            target
        )
