"""README.md and docs/evidence.md hold what `make pages` makes of the committed rows."""

import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from iapt.errors import DataError
from iapt.results.cells import collect
from iapt.results.row import Row
from iapt.results.row_files import read_rows
from scripts.fill_pages import BLOCKS, PAGES, PICTURE, filled, main
from tests.results.example_rows import five

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"backbone": "smollm2_135m", "hparams": "tuned", "data": "folder:data"}


def lines(text: str) -> list[list[str]]:
    """The cells of a Markdown table's lines, without its head."""
    found = [x.strip("| ").split("|") for x in text.splitlines() if x.startswith("|")]
    return [[cell.strip() for cell in line] for line in found[2:]]


def small_scale(rows: list[Row]) -> str:
    text = filled("a\n<!-- block small_scale -->\nold\n<!-- end -->\nb", collect(rows)[0])
    assert text.startswith("a\n<!-- block small_scale -->\n")
    assert text.endswith("\n<!-- end -->\nb")
    assert "old" not in text
    return text


def test_the_committed_pages_and_the_picture_are_those_of_the_committed_rows(
    tmp_path: Path,
) -> None:
    (tmp_path / "docs").mkdir()
    shutil.copytree(ROOT / "results" / "rows", tmp_path / "results" / "rows")
    for page in PAGES:
        shutil.copy(ROOT / page, tmp_path / page)
    assert main(tmp_path) == 0
    for page in PAGES:
        assert (tmp_path / page).read_text() == (ROOT / page).read_text(), "run make pages"
    labels = [
        re.findall(r">([^<>]+)</text>", (root / PICTURE).read_text()) for root in (tmp_path, ROOT)
    ]
    assert labels[0] == labels[1]
    ElementTree.parse(ROOT / PICTURE)


def test_a_first_run_on_the_sample_changes_no_page() -> None:
    cells, _ = collect(read_rows(ROOT / "results" / "rows")[0])
    others = [cell for cell in cells if (cell.hparams, cell.data) != ("quick", "sample")]
    assert len(others) < len(cells)
    for page in PAGES:
        text = (ROOT / page).read_text()
        assert filled(text, others) == filled(text, cells), page


def test_the_readme_shows_fourteen_methods_their_scale_and_what_it_does_not_show() -> None:
    section = (ROOT / "README.md").read_text().split("<!-- block small_scale -->")[1]
    text = section.split("<!-- end -->")[0]
    assert len(lines(text)) == 14
    assert "SmolLM2-135M" in text
    assert "steps of 8" in text
    assert "test rows" in text
    assert "nothing about their order at the paper's scale" in " ".join(text.split())


def test_rows_of_the_small_scale_take_the_place_of_the_grid_of_rates() -> None:
    rows = five("sst2", "lora", [81.0] * 5, **SMALL) + five("rte", "iapt", [60.0] * 2, **SMALL)
    rows += five("sst2", "lora", [99.0] * 5)  # of the paper's setting
    text = small_scale(rows)
    assert "| Method" in text
    heads = re.search(
        r"SST-2 \(acc\) +\| RTE \(acc\) +\| SST-2: seeds +\| minus LoRA \(95 %\) +\|\n", text
    )
    assert heads
    found = {line[0]: line[1:] for line in lines(text)}
    assert len(found) == 14
    assert found["LoRA"] == ["9.99M", "81.0", "–", "5", "–"]
    assert found["IAPT (as described)"] == ["9.99M", "–", "60.0 (2/5)", "–", "–"]
    assert "99.0" not in text
    assert "about 1.0 points" in text  # 1,635 rows


def test_a_method_stands_with_its_seeds_and_its_difference_from_lora() -> None:
    rows = five("sst2", "lora", [80.0, 81.0, 82.0], **SMALL)
    rows += five("sst2", "iapt", [84.0, 83.0], **SMALL) + five("sst2", "lpt", [83.0], **SMALL)
    found = {line[0]: line[1:] for line in lines(small_scale(rows))}
    assert found["LoRA"][1:4] == ["81.0 (3/5)", "3", "–"]
    assert found["IAPT (as described)"][1:4] == ["83.5 (2/5)", "2", "+3.0 (-9.71 to +15.71)"]
    assert found["LPT"][1:4] == ["83.0 (1/5)", "1", "+3.0"]
    assert found["SSP"][1:4] == ["–"] * 3


def test_a_block_that_nobody_makes_is_an_error_that_names_those_there_are() -> None:
    with pytest.raises(DataError, match="block tabel: unknown; allowed are small_scale, claims"):
        filled("<!-- block tabel -->\n<!-- end -->", [])


def test_every_block_stands_on_a_page() -> None:
    text = "".join((ROOT / page).read_text() for page in PAGES)
    assert all(f"<!-- block {name} -->" in text for name in BLOCKS)
