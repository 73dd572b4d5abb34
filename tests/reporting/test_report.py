import json
import re
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from iapt.reporting import report
from iapt.reporting.charts.canvas import COLOURS, INK, PAPER
from iapt.reporting.charts.lines import Series
from iapt.reporting.report import Block, Material, Section, html_report
from iapt.results.cells import collect
from iapt.results.row import Row
from tests.results.example_rows import a_row, five, raw_row

QUICK = {"backbone": "smollm2_135m", "hparams": "quick", "data": "sample"}
HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)">\u202egnp\x00\ud800'


class Tags(HTMLParser):
    """Collects tags and attributes, and checks that what opens closes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in {"meta", "path", "rect", "circle"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(text: str) -> Tags:
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    return tags


def run_folder(runs: Path, run_id: str, lines: list[object]) -> None:
    (runs / run_id).mkdir(parents=True)
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    (runs / run_id / "predictions.jsonl").write_text(text)


def test_the_file_needs_nothing_from_outside_and_runs_nothing() -> None:
    rows = five("boolq", "iapt", [70.0] * 5, **QUICK)
    text = html_report(Material(rows, collect(rows)[0]))
    tags = parsed(text)
    assert not {tag for tag, _ in tags.seen} & {"script", "link", "img", "iframe", "object"}
    assert all(not {"src", "href"} & set(attributes) for _, attributes in tags.seen)
    assert all(not name.startswith("on") for _, attributes in tags.seen for name in attributes)
    assert "default-src 'none'" in text
    inside = [value for _, a in tags.seen for name, value in a.items() if name.endswith(":href")]
    assert inside
    assert all(value and value.startswith("#") for value in inside)
    spaces = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}  # names, not addresses
    assert set(re.findall(r"https?://[^\"' ]+", text)) == spaces
    assert not re.search(r"url\((?!#)|@import", text)


def test_the_table_and_the_curves_show_the_rows() -> None:
    rows = five("boolq", "iapt", [70.0] * 5, **QUICK) + five("boolq", "lora", [60.0] * 3, **QUICK)
    text = html_report(Material(rows, collect(rows)[0]))
    assert "<td>60.0 (3/5)</td>" in text
    assert "Not the paper's setting" in unescape(text)
    assert text.count("<title>boolq: dev accuracy</title>") == 1
    assert text.count("<title>boolq: dev loss</title>") == 1
    assert (
        text.count("<title>boolq: mean test score, its 95 % interval, and each seed</title>") == 1
    )
    assert text.count("<title>boolq: test score against trained parameters</title>") == 1


def test_hostile_output_is_shown_as_text(tmp_path: Path) -> None:
    rows = [a_row(**QUICK)]
    prediction = {
        "id": HOSTILE,
        "output": HOSTILE,
        "parsed": HOSTILE,
        "references": [HOSTILE],
        "score": 0,
    }
    run_folder(tmp_path, rows[0].run_id, [prediction])
    text = html_report(Material(rows, collect(rows)[0], [HOSTILE], tmp_path))
    tags = parsed(text)
    assert not {tag for tag, _ in tags.seen} & {"script", "img"}
    assert "&lt;script&gt;alert(1)" in text
    assert not {"\u202e", "\x00", "\ud800"} & set(text)


def test_wrong_predictions_come_first_and_only_a_few_are_shown(tmp_path: Path) -> None:
    rows = [a_row(**QUICK)]
    lines: list[object] = [
        {
            "id": f"e{i}",
            "output": f"text {i}",
            "parsed": None if i == 8 else "no",
            "references": "yes",
            "score": 0 if i == 7 else 100,
        }
        for i in range(9)
    ]
    run_folder(tmp_path, rows[0].run_id, ["no json", *lines, "[1]"])
    text = html_report(Material(rows, collect(rows)[0], runs=tmp_path, samples=3))
    shown = re.findall(r"text (\d)", text)
    assert shown == ["7", "8", "0"]
    assert "unparsed" in text
    assert "2 lines of" in text


def test_a_long_output_is_cut_and_this_is_said(tmp_path: Path) -> None:
    rows = [a_row(**QUICK)]
    run_folder(tmp_path, rows[0].run_id, [{"id": "1", "output": "&" * 9_000, "references": []}])
    text = html_report(Material(rows, collect(rows)[0], runs=tmp_path))
    parsed(text)
    assert "(7000 more characters)" in text


def test_failed_runs_are_listed_with_their_last_line(tmp_path: Path) -> None:
    (tmp_path / "a<b>").mkdir()
    (tmp_path / "a<b>" / "failed.txt").write_text("Traceback\nDataError: <i>no split</i>\n")
    text = html_report(Material([], [], runs=tmp_path))
    parsed(text)
    assert "Failed runs: 1" in text
    assert "a&lt;b&gt;: DataError: &lt;i&gt;no split" in text


def test_of_a_long_traceback_the_end_is_shown_which_names_the_error(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    text = f"the first line\n{'x' * 3_000}\nthe call that failed\nDataError: no split\n"
    (tmp_path / "a" / "failed.txt").write_text(text)
    page = html_report(Material([], [], runs=tmp_path))
    assert "the call that failed\nDataError: no split" in page
    assert "the first line" not in page


def test_a_curve_is_the_median_over_seeds_with_their_range(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, list[Series]] = {}

    def keep(lines: list[Series], *, title: str, **_: str) -> str:
        drawn[title] = lines
        return ""

    monkeypatch.setattr(report, "line_chart", keep)
    rows = five("boolq", "iapt", [50.0, 60.0, 90.0], **QUICK)
    html_report(Material(rows, collect(rows)[0]))
    (line,) = drawn["boolq: dev accuracy"]
    assert line.points == [(0, 40.0), (20, 60.0)]
    assert line.band == [(0, 40.0, 40.0), (20, 50.0, 90.0)]


def test_only_numbers_of_another_setting_are_said_not_to_be_the_papers() -> None:
    warning = "do not compare these numbers with the paper's tables"
    for changes, warned in (({}, False), (QUICK, True)):
        rows = five("boolq", "iapt", [70.0] * 5, **changes)
        assert (warning in unescape(html_report(Material(rows, collect(rows)[0])))) is warned


def test_no_character_that_turns_the_reading_direction_reaches_the_page() -> None:
    turning = [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
    text = html_report(Material([], [], [f"exe.{chr(code)}gpj" for code in turning]))
    assert text.count("exe.\ufffdgpj") == len(turning)


def test_curves_without_a_value_and_no_rows_at_all_do_not_matter() -> None:
    rows = [a_row(dev={"curve": [{"step": 0}, {"step": 1, "loss": None}]}, **QUICK)]
    text = html_report(Material(rows, collect(rows)[0]))
    assert "<svg" not in text
    parsed(html_report(Material([], [])))


def test_an_output_that_was_not_parsed_counts_as_wrong(tmp_path: Path) -> None:
    rows = [a_row(**QUICK)]
    lines: list[object] = [
        {"id": "a", "output": "fine", "parsed": "fine", "references": ["x"]},
        {"id": "b", "output": "mumble", "parsed": None, "references": ["x"]},
    ]
    run_folder(tmp_path, rows[0].run_id, lines)
    text = html_report(Material(rows, collect(rows)[0], runs=tmp_path))
    assert text.index("mumble") < text.index('<pre dir="auto">fine')
    assert text.count('class="wrong"') == 1


def test_a_page_in_the_dark_has_dark_paper_and_light_lines() -> None:
    rows = five("boolq", "iapt", [70.0] * 5, **QUICK)
    text = html_report(Material(rows, collect(rows)[0]))
    assert "prefers-color-scheme: dark" in text
    charts = text[text.index("<svg") : text.rindex("</svg>")]
    assert "currentColor" in charts
    assert not {INK, PAPER} & set(re.findall("#[0-9a-f]{6}", charts))


def test_hostile_names_are_text_in_the_tables_and_in_the_charts() -> None:
    name = "<script>alert(1)</script><img src=x>\u202e"
    raw = raw_row(method=name, **QUICK) | {"run_id": "a"}
    rows = [Row.model_validate_json(json.dumps(raw))]
    text = html_report(Material(rows, collect(rows)[0]))
    assert not {tag for tag, _ in parsed(text).seen} & {"script", "img"}
    assert text.count("&lt;script&gt;alert(1)") >= 3
    assert "\u202e" not in text


def test_a_new_section_is_one_more_function_in_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    def environment(material: Material) -> Iterator[Section]:
        yield Section("Environment <b>", [Block("text", "torch & co")])

    monkeypatch.setattr(report, "SECTIONS", [*report.SECTIONS, environment])
    text = html_report(Material([], []))
    assert "<h2>Environment &lt;b&gt;</h2>" in text
    assert "<p>torch &amp; co</p>" in text


def test_a_block_that_the_template_does_not_know_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        report, "SECTIONS", [lambda _: iter([Section("a", [Block("hologram", "")])])]
    )
    with pytest.raises(UndefinedError):
        html_report(Material([], []))


def test_cells_of_one_method_are_told_apart_and_many_lines_get_a_panel_each() -> None:
    rows = [
        a_row("sst2", name, config={"hparams": {"lr": rate}}, **QUICK)
        for name in ("lora", "iapt")
        for rate in (0.001, 0.002)
    ]
    text = html_report(Material(rows, collect(rows)[0]))
    curves = text[text.index("<title>sst2: dev accuracy") : text.index("<title>sst2: dev loss")]
    assert {"lora, lr=0.001", "lora, lr=0.002"} <= set(re.findall(r">([^<>]+)</text>", curves))
    assert {colour for colour in COLOURS if colour in curves} == set(COLOURS[:4])
    rows += [a_row("sst2", f"method{n}", **QUICK) for n in range(10)]
    text = html_report(Material(rows, collect(rows)[0]))
    assert text.count("<title>sst2: dev accuracy</title>") == 1
    curves = text[text.index("<title>sst2: dev accuracy") : text.index("<title>sst2: dev loss")]
    assert {colour for colour in COLOURS if colour in curves} == {COLOURS[0]}
    assert {f"method{n}" for n in range(10)} <= set(re.findall(r">([^<>]+)</text>", curves))


def test_the_environment_of_the_runs_and_of_the_page_is_stated() -> None:
    rows = [a_row(seed=0, git={"commit": "a" * 40, "dirty": True}, device="cpu <1>", **QUICK)]
    rows += [a_row(seed=1, git={"commit": "b" * 40}, device="cpu <1>", **QUICK)]
    text = html_report(Material(rows, collect(rows)[0], made="on a <day>"))
    assert "Made on a &lt;day&gt;." in text
    assert "aaaaaaaaaaaa with changes (1 row), bbbbbbbbbbbb (1 row)" in text
    assert "<td>cpu &lt;1&gt;</td>" in text
    assert "<td>2026-11-23</td>" in text


def test_what_a_method_learned_is_drawn_and_hostile_tokens_are_text(tmp_path: Path) -> None:
    rows = five("sst2", "iapt", [70.0, 71.0], **QUICK)
    learned = {"name": "blocks <0>", "points": [[0.0, 0.5], [1.0, 1.25]]}
    start = {"name": "GELU", "points": [[0.0, 0.0], [1.0, 1.0]]}
    function = {"title": "f", "x_label": "s", "y_label": "R", "curves": [learned]}
    found = {
        "functions": [function | {"reference": start}],
        "prompts": [{"tokens": ["good", HOSTILE[:-1]], "weights": {"mean": [0.2, 0.8]}}],
    }
    run_folder(tmp_path, rows[1].run_id, [])
    (tmp_path / rows[1].run_id / "inspection.json").write_text(json.dumps(found))
    text = html_report(Material(rows, collect(rows)[0], runs=tmp_path))
    tags = parsed(text)
    assert not {tag for tag, _ in tags.seen} & {"script", "img"}
    assert "Inside: sst2, iapt, seed 1" in text
    assert "Largest distance from GELU: blocks &lt;0&gt; 0.5." in text
    assert "<title>f, and GELU (dashed)</title>" in text
    assert '<span style="--w:25%" title="0.2">good</span>' in text
    assert '<span style="--w:100%" title="0.8">&lt;script&gt;' in text
    (tmp_path / rows[1].run_id / "inspection.json").write_text('{"prompts": 7}')
    text = html_report(Material(rows, collect(rows)[0], runs=tmp_path))
    assert "inspection.json: inspection.prompts" in text


def test_of_several_seeds_the_inside_of_the_lowest_is_shown(tmp_path: Path) -> None:
    rows = five("sst2", "iapt", [70.0, 71.0, 72.0], **QUICK)
    found = {"prompts": [{"tokens": ["good"], "weights": {"mean": [1.0]}}]}
    for row in rows[1:]:
        run_folder(tmp_path, row.run_id, [])
        (tmp_path / row.run_id / "inspection.json").write_text(json.dumps(found))
    text = html_report(Material(rows, collect(rows)[0], runs=tmp_path))
    assert re.findall("Inside: [^<]*", text) == ["Inside: sst2, iapt, seed 1"]
