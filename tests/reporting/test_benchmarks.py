"""Table 4 and the table of tenants: which measurement stands where."""

import json
from pathlib import Path
from typing import Any

import pytest

from iapt.reporting.benchmarks import efficiency_table, tenants_document
from iapt.reporting.render import csv_text, markdown
from iapt.reporting.spec import MAIN_BACKBONE


def row(what: str, seconds: float, **more: Any) -> dict[str, Any]:
    return {
        "what": what,
        "num_beams": 3,
        "tokens_per_second": 32 / seconds,
        "ratio_to_bare": 1 / seconds,
        "ratio_5_95": [0.5, 0.75],
        "seconds": [seconds, seconds, 9.0],
        "prefill_seconds": [seconds / 10] * 3,
        "step_seconds": [seconds / 100] * 3,
        "peak_mib": 15001.2,
        **more,
    }


def report(device: str = "cuda", **more: Any) -> dict[str, Any]:
    return {
        "device": device,
        "dtype": "bfloat16",
        "machine": {"gpu": "a card"},
        "instruction_tokens": 274,
        "new_tokens": 32,
        "limit_seconds": 0.005,
        "rows": [row("bare", 1.0), row("lora", 2.0), row("iapt", 1.024)],
        **more,
    }


def text(folder: Path) -> str:
    return " ".join(markdown(efficiency_table(folder)[0]).split())


def test_without_a_measurement_the_papers_values_stand_alone(tmp_path: Path) -> None:
    document, drawings = efficiency_table(tmp_path / "absent")
    assert "| LoRA | 1 | – [25.1]" in " ".join(markdown(document).split())
    assert document.commands
    assert not drawings


def test_a_measurement_on_a_gpu_stands_beside_the_papers(tmp_path: Path) -> None:
    (tmp_path / f"{MAIN_BACKBONE}.json").write_text(json.dumps({"table4": report()}))
    document, drawings = efficiency_table(tmp_path)
    assert "| 31.2 [27.9]" in markdown(document)
    assert "| 15001 [15946]" in markdown(document)
    assert not document.commands
    assert list(drawings) == [f"{MAIN_BACKBONE}-beams.svg"]


@pytest.mark.parametrize(
    ("file", "found"),
    [(MAIN_BACKBONE, report("cpu")), ("smollm2_135m", report()), (MAIN_BACKBONE, None)],
)
def test_no_other_measurement_does(tmp_path: Path, file: str, found: Any) -> None:
    (tmp_path / f"{file}.json").write_text(json.dumps({"table4": found} if found else {}))
    assert "31.2 [27.9]" not in text(tmp_path)
    assert efficiency_table(tmp_path)[0].commands


def test_ratios_are_to_the_bare_backbone_to_lora_and_to_the_limit(tmp_path: Path) -> None:
    (tmp_path / "small.json").write_text(json.dumps({"table4": report("cpu")}))
    # Tokens/s, of bare, of LoRA, prefill, of bare, token, of bare, of limit, memory.
    assert "| iapt | 3 | 31.2 | 0.98 | 1.95 | 102 | 1.02 | 10.2 | 1.02 | 2.05 | 15001 |" in text(
        tmp_path
    )
    assert "small: bfloat16, a card" in text(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", '{"table4": {"rows": [{}]}}', '{"table4": 3}'])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "broken.json").write_text(content)
    assert "broken.json is not a file of iapt-bench" in text(tmp_path)


def test_tenants_have_a_line_each_and_a_picture_of_distinct_ones() -> None:
    batch = {"rows": 8, "pool": 100, "popularity": "distinct", "distinct": 8}
    rows = [
        row("bare", 1.0, bytes_per_tenant=None, **batch),
        row("lora", 2.0, bytes_per_tenant=2**21, **batch),
    ]
    found = report("cpu", rows=rows)
    document, drawings = tenants_document("small", found)
    shown = " ".join(markdown(document).split())
    assert (
        "| 8 | 8 | 100 | distinct | bare | 1.000 | 1.00 | 0.50 to 0.75 | 10.0 | 1.00 | – |" in shown
    )
    assert "| lora | 2.000 | 0.50 | 0.50 to 0.75 | 20.0 | 2.00 | 2.00 |" in shown
    assert csv_text(document).startswith("what,")
    assert "<svg" in drawings["small-tenants.svg"]


def test_a_token_that_took_less_than_no_time_is_a_dash(tmp_path: Path) -> None:
    below = {"step_seconds": [-0.001] * 3}
    rows = [row("bare", 1.0), row("lora", 2.0, **below), row("iapt", 1.0)]
    (tmp_path / "small.json").write_text(json.dumps({"table4": report("cpu", rows=rows)}))
    assert "| lora | 3 | 16.0 | 0.50 | 1.00 | 200 | 2.00 | – | – | – | 15001 |" in text(tmp_path)
    assert "| iapt | 3 | 32.0 | 1.00 | 2.00 | 100 | 1.00 | 10.0 | 1.00 | 2.00 | 15001 |" in text(
        tmp_path
    )
    batch = {"rows": 1, "pool": 1, "popularity": "zipf", "distinct": 1, "bytes_per_tenant": None}
    rows = [row("bare", 1.0, **batch, **below), row("lora", 2.0, **batch)]
    document, _ = tenants_document("small", report("cpu", rows=rows))
    shown = " ".join(markdown(document).split())
    assert "| bare | 1.000 | 1.00 | 0.50 to 0.75 | – | – | – |" in shown
    assert "| lora | 2.000 | 0.50 | 0.50 to 0.75 | 20.0 | – | – |" in shown
