import csv
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from iapt.cli import counting
from iapt.cli.report import main as report
from iapt.cli.table import LAYOUT, NAMES, main
from iapt.reporting.report import Material
from tests.results.example_rows import raw_row, store


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    paper = [raw_row("boolq", "lora", seed, 86.0 + seed / 10) for seed in range(3)]
    quick = [
        raw_row(
            "boolq",
            "iapt",
            seed,
            70.0,
            backbone="smollm2_135m",
            hparams="quick",
            data="sample",
            setting="9uick000",
        )
        for seed in range(5)
    ]
    return store(tmp_path / "rows", paper + quick)


@pytest.fixture(autouse=True, scope="module")
def counted_once() -> Iterator[None]:
    """Counting takes seconds and gives the same every time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "count_entries", cache(counting.count_entries))
        yield


def test_help_answers_at_once_and_loads_nothing_heavy() -> None:
    code = (
        "import sys; from iapt.cli.table import main; main(['--help']); "
        "from iapt.cli.report import main as r; r(['-h']); "
        "print(sorted({'torch','transformers','hydra','numpy','yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Usage: iapt-table" in done.stdout
    assert done.stdout.rstrip().endswith("[]")


def test_a_table_is_printed_and_written_three_ways(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["table1", f"rows={rows}", f"out={out}"]) == 0
    printed = capsys.readouterr().out
    assert "86.1 (3/5) [<u>86.7</u>]" in printed
    assert "iapt-sweep +experiment=paper" in printed
    assert sorted(path.name for path in out.iterdir()) == [
        *("table1-details.tex", "table1.csv", "table1.md", "table1.tex")
    ]
    assert printed.startswith((out / "table1.md").read_text())
    records = list(csv.DictReader((out / "table1.csv").read_text().splitlines()))
    assert sum(record["median"] != "" for record in records) == 1


def test_every_name_works_with_and_without_rows(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "none").mkdir()
    for folder in (rows, tmp_path / "none"):
        assert main(["all", f"rows={folder}", f"out={tmp_path / 'out'}"]) == 0
    assert {path.stem for path in (tmp_path / "out").glob("*.md")} == set(NAMES)
    assert "KeyError" not in capsys.readouterr().err


def test_on_a_terminal_nothing_but_commands_is_wider_than_it_and_files_keep_all(
    rows: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["table1", "claims", f"rows={rows}", f"out={tmp_path}"]) == 0
    printed = re.sub(r"\x1b\[\d+m", "", capsys.readouterr().out)
    lines = [x for x in printed.splitlines() if not x.startswith(("  iapt-sweep", "Written:"))]
    assert max(map(len, lines)) <= 100
    assert "86.1" in printed
    assert "| LoRA " in (tmp_path / "table1.md").read_text()


# The specification's table of sizes on LLaMA-2 7B (section 3), as counted under the paper's rule.
LLAMA2_7B = {
    "houlsby": 9_437_184,
    "parallel_adapter": 9_437_184,
    "adapter_drop": 9_142_272,
    "learned_adapter": 9_478_656,
    "lora": 9_994_240,
    "adalora": 9_994_240,
    "bitfit": 10_878_976,
    "ia3": 9_830_400,
    "ssp": 8_600_000,
    "p_tuning": 9_437_184,
    "p_tuning_v2": 9_437_184,
    "idpg": 8_388_608,
    "lpt": 8_388_608,
    "iapt": 16_810_080,
    "iapt_8m": 8_405_088,
}


def test_params_counts_every_method_on_every_backbone_without_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["params"]) == 0
    printed = capsys.readouterr()
    assert "warning" not in printed.err
    assert "| 8.4M | 16,810,080 |" in " ".join(printed.out.split())
    out = tmp_path / "results" / "tables"
    assert sorted(p.name for p in out.iterdir()) == ["params.csv", "params.md", "params.tex"]
    records = list(csv.DictReader((out / "params.csv").read_text().splitlines()))
    on_llama = {r["method"]: int(r["counted"]) for r in records if r["backbone"] == "llama2_7b"}
    assert on_llama.items() >= LLAMA2_7B.items()
    backbones = {"llama2_7b", "gpt2_large", "pythia_1b4", "smollm2_135m"}
    places = {(r["backbone"], r["method"]) for r in records}
    assert places >= {(b, m) for b in backbones for m in LLAMA2_7B}
    assert len(records) == len(places)
    assert all(r["reading"] for r in records)


def test_the_summary_shows_the_other_setting_and_says_so(
    rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["summary", f"rows={rows}", "out=none"]) == 0
    printed = capsys.readouterr().out
    assert "smollm2_135m, hparams quick, data sample, setting 9uick000 (NOT the paper's" in printed


def test_a_broken_file_is_a_warning_on_stderr(
    rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (rows / "broken.json").write_text("{")
    (rows / "old.json").write_text(json.dumps({"schema": 0}))
    assert main(["table2", f"rows={rows}", "out=none"]) == 0
    error = capsys.readouterr().err
    assert "broken.json" in error
    assert "old.json" in error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tabel1"], "Did you mean 'table1'?"),
        (["table9"], "'table9': unknown name"),
        (["table1", "row=x"], "Did you mean 'rows'?"),
        (["table1", "rows="], "rows=: no value"),
        (["table1", "out=a", "out=b"], "given twice"),
        (["rows=."], "nothing: iapt-table takes NAME"),
        (["table1", "rows=/no/such/folder"], "no such folder"),
        (["table8", "backbone=gpt2_large"], "backbone=gpt2_large does not work with table8"),
        (["table1", "summary", "scale=small"], "scale=small does not work with summary"),
        (["table1", "scale=smal"], "Did you mean 'small'?"),
        (["table1", "hparams=tunde"], "hparams=tunde: no row has it"),
        (["table1", "scale=small", "setting=zzz"], "setting=zzz: no row has it"),
        (["table1", "rows=.", "out=none", "setting=zzz"], "setting=zzz: no row has it"),
    ],
)
def test_a_wrong_word_is_answered_with_what_is_right(
    words: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_a_folder_that_cannot_be_written_is_an_error_without_traceback(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["table1", f"rows={rows}", f"out={tmp_path / 'file'}"]) == 1
    assert "table1.md: cannot be written" in capsys.readouterr().err


def test_claims_can_be_held_against_another_setting(
    rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["claims", "backbone=smollm2_135m", "hparams=quick", "data=sample", "out=none"]
    assert main([*words, f"rows={rows}"]) == 0
    assert "NOT a reproduction" in capsys.readouterr().out


def test_the_small_scope_fills_the_papers_layout_into_files_of_its_own(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {"backbone": "smollm2_135m", "hparams": "tuned", "data": "folder:data"}
    store(rows, [raw_row("boolq", "lora", seed, 61.0, **small) for seed in range(5)])
    assert main(["table1", "scale=small", f"rows={rows}", f"out={tmp_path / 'out'}"]) == 0
    printed = capsys.readouterr().out
    assert "61.0" in printed
    assert "86." not in printed
    assert "iapt-sweep +experiment=paper scale=small task=sst2,rte method=lora" in printed
    stems = {path.name for path in (tmp_path / "out").iterdir()}
    assert stems == {f"table1-small{rest}" for rest in (".md", ".tex", ".csv", "-details.tex")}


def test_all_tables_of_the_small_scope_are_those_with_the_papers_layout(
    rows: Path, tmp_path: Path
) -> None:
    assert main(["all", "scale=small", f"rows={rows}", f"out={tmp_path / 'out'}"]) == 0
    found = {path.stem for path in (tmp_path / "out").glob("*.md")}
    assert found == {f"{name}-small" for name in LAYOUT}


def test_a_pipe_that_closes_early_is_no_error(rows: Path) -> None:
    command = f"{sys.executable} -m iapt.cli.table all rows={rows} out=none | head -1; echo $?"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def test_the_report_is_one_file(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "report.html"
    assert report([f"rows={rows}", f"out={out}"]) == 0
    assert "8 rows, 2 cells" in capsys.readouterr().out
    assert out.read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["table1"], "table1: iapt-report takes [key=value ...]"),
        (["run=x"], "Did you mean 'runs'?"),
        (["samples=-1"], "must be a whole number >= 0"),
        (["runs=/no/such/folder"], "no such folder"),
    ],
)
def test_the_report_refuses_wrong_words(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(words) == 2
    assert message in capsys.readouterr().err


def test_paired_shows_every_two_methods_and_what_would_find_a_difference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = {"lora": [86.0, 86.4, 86.1], "iapt": [87.0, 87.9, 87.4]}
    raws = [
        raw_row("boolq", method, seed, value)
        for method, values in scores.items()
        for seed, value in enumerate(values)
    ]
    folder = store(tmp_path / "rows", raws)
    words = ["paired", f"rows={folder}", f"out={tmp_path}"]
    assert main([*words, "setting=5e77", "detect=0.5"]) == 0
    assert "Seeds to detect 0.5" in capsys.readouterr().out
    with (tmp_path / "paired.csv").open() as file:
        (record,) = csv.DictReader(file)
    assert (record["left"], record["right"]) == ("lora", "iapt")
    assert float(record["difference"]) == pytest.approx(-1.2667, abs=1e-4)
    assert main([*words, "setting=0ther"]) == 2
    assert "setting=0ther: no row has it; the rows have 5e771116" in capsys.readouterr().err
    assert main([*words, "detect=0"]) == 2
    assert "detect=0" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["summary", "rates", "paired", "open_choices"])
def test_a_table_of_all_settings_takes_the_hash_of_any(
    name: str, rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, f"rows={rows}", "out=none", "setting=9uick"]) == 0
    assert main([name, f"rows={rows}", "out=none", "setting=0ther"]) == 2
    assert "the rows have 5e771116, 9uick000" in capsys.readouterr().err
    assert main(["table1", f"rows={rows}", "out=none", "setting=9uick"]) == 2
    assert "the rows have 5e771116\n" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["paired", "summary"])
def test_only_the_setting_that_is_asked_for_is_shown(name: str, tmp_path: Path) -> None:
    raws = [
        raw_row(task, method, seed, 80.0 + seed * len(method), setting=setting)
        for task, setting in (("boolq", "a" * 12), ("copa", "b" * 12))
        for method in ("lora", "iapt_")
        for seed in range(3)
    ]
    rows = store(tmp_path / "rows", raws)
    for word, tasks in (("setting=aaaa", ["boolq"]), ("setting=", ["boolq", "copa"])):
        words = [w for w in (name, f"rows={rows}", f"out={tmp_path}", word) if w[-1] != "="]
        assert main(words) == 0
        with (tmp_path / f"{name}.csv").open() as file:
            assert sorted({record["task"] for record in csv.DictReader(file)}) == tasks


def test_the_report_shows_as_many_predictions_as_are_asked_for(
    rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def html_report(material: Material) -> str:
        asked.append(material.samples)
        return ""

    monkeypatch.setattr("iapt.reporting.report.html_report", html_report)
    for words in ([], ["samples=7"], ["samples=0"]):
        assert report([f"rows={rows}", f"out={tmp_path / 'r.html'}", *words]) == 0
    assert asked == [5, 7, 0]


def test_a_table_warns_of_its_own_rows_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {"backbone": "smollm2_135m", "hparams": "quick", "data": "sample"}
    twice = [raw_row("boolq", "lora", 0, 70.0, setting=s * 8, **other) for s in "ab"]
    undeclared = raw_row("boolq", "lora", 7, 86.0)
    rows = store(tmp_path, [raw_row("boolq", "lora", 0, 86.0), undeclared, *twice])
    assert main(["table1", f"rows={rows}", "out=none"]) == 0
    said = capsys.readouterr()
    assert "seed 7 left out" in said.err
    assert "kept apart" not in said.err
    assert "scale=small" not in said.out
    assert main(["summary", f"rows={rows}", "out=none"]) == 0
    assert "kept apart" in capsys.readouterr().out


def test_an_empty_table_of_the_paper_points_to_the_rows_of_the_small_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = raw_row("boolq", "lora", 0, 70.0, backbone="smollm2_135m", hparams="tuned")
    rows = store(tmp_path, [small])
    assert main(["table1", f"rows={rows}", "out=none"]) == 0
    assert "iapt-table table1 scale=small shows rows" in capsys.readouterr().out
