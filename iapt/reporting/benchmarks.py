"""Tables and pictures of what `iapt-bench` measured: Table 4, batches of many tenants, training."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from iapt.errors import IaptError
from iapt.files import read_json
from iapt.reporting.charts.lines import Series, line_chart
from iapt.reporting.measures import number
from iapt.reporting.render import DASH, Document, Entry, Grid, Line
from iapt.reporting.spec import MAIN_BACKBONE, load

Report = Mapping[str, Any]
WRONG = (ValueError, KeyError, TypeError, AttributeError, IndexError, ZeroDivisionError)
TABLE4_HEAD = (
    *("Method", "Beams", "Tokens/s", "of bare", "of LoRA", "Prefill (ms)", "of bare"),
    *("Token (ms)", "of bare", "of limit", "Memory (MiB)"),
)
TENANTS_HEAD = (
    *("Rows", "Distinct", "Pool", "Popularity", "Served by", "Seconds", "of bare", "5-95 %"),
    *("Token (ms)", "of bare", "MiB per tenant"),
)
TRAIN_HEAD = (
    *("Trained by", "dtype", "Rows/s", "of Trainer", "5-95 %", "of Trainer, alike", "5-95 %"),
    *("of peak", "Memory (MiB)", "of Trainer's"),
)


def efficiency_table(folder: Path) -> tuple[Document, dict[str, str]]:
    """Build Table 4 from the paper's speed and memory, and from what iapt-bench measured on every backbone.

    Args:
        folder: The folder of the files that `iapt-bench` wrote; it need not exist. Only a measurement of
            the table's own backbone on a GPU is shown beside the paper's values.

    Returns:
        The document, and the pictures by file name.
    """
    raw = load("table4")
    intro = [f"Ours [the paper's]; {DASH} is a missing value."]
    document = Document("table4", raw["title"], intro, notes=[*raw["notes"]])
    reports: dict[str, Report] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            report = read_json(path).get("table4")
            if report is not None:
                _grid(path.stem, report)  # raises one of WRONG if the report is malformed
                reports[path.stem] = report
        except (*WRONG, IaptError) as error:
            document.notes.append(f"{path} is not a file of iapt-bench ({error!r}).")
    main = reports.get(MAIN_BACKBONE)
    ours = main if main is not None and str(main["device"]).startswith("cuda") else None
    document.commands = [] if ours else [raw["command"]]
    document.grids.append(_beside_the_paper(raw, ours, document))
    drawings: dict[str, str] = {}
    for name, report in reports.items():
        document.grids.append(_grid(name, report))
        document.notes.append(_origin(name, report))
        drawings |= _beams(name, report)
    return document, drawings


def _beside_the_paper(raw: Mapping[str, Any], ours: Report | None, document: Document) -> Grid:
    rows = {(row["what"], row["num_beams"]): row for row in (ours or {}).get("rows", ())}
    lines: list[Line] = []
    for line in raw["lines"]:
        row = rows.get((line["method"], line["beams"]), {})
        speed, memory = row.get("tokens_per_second"), row.get("peak_mib")
        paper_speed, paper_memory = line["values"]
        entries = (
            Entry(number(speed, 1), paper=f"{paper_speed:g}"),
            Entry(number(memory, 0), paper=f"{paper_memory:g}"),
        )
        lines.append([line["label"], str(line["beams"]), *entries])
        document.records.append(
            {
                "table": "table4",
                "method": line["method"],
                "beams": line["beams"],
                "tokens_per_second": speed,
                "memory_mib": memory,
                "paper_tokens_per_second": paper_speed,
                "paper_memory_mib": paper_memory,
            }
        )
    return Grid(raw["head"], lines)


def table4_document(backbone: str, report: Report) -> tuple[Document, dict[str, str]]:
    """Lay out one measurement of Table 4, and draw the time per token against the number of beams."""
    title = f"Decoding as in Appendix G, {backbone}"
    document = Document(f"{backbone}-table4", title, notes=[_origin(backbone, report)])
    document.grids.append(_grid(backbone, report))
    document.records = list(map(_record, report["rows"]))
    return document, _beams(backbone, report)


def _grid(backbone: str, report: Report) -> Grid:
    reference = load("table4")["reference"]
    rows: Sequence[Report] = report["rows"]
    limit, lines = float(report["limit_seconds"]), list[Line]()
    by_name = {(row["what"], row["num_beams"]): row for row in rows}
    for row in rows:
        beams = row["num_beams"]
        bare, other = by_name["bare", beams], by_name.get((reference, beams))
        step = median(row["step_seconds"])
        lines.append(
            [
                str(row["what"]),
                str(beams),
                number(row["tokens_per_second"], 1),
                _ratio(bare, row, "seconds"),
                DASH if other is None else _ratio(other, row, "seconds"),
                number(1000 * median(row["prefill_seconds"]), 0),
                _ratio(row, bare, "prefill_seconds"),
                *_token(row, bare),
                number(step / limit, 2) if step > 0 else DASH,
                number(row["peak_mib"], 0),
            ]
        )
    length = f"{report['instruction_tokens']} + {report['new_tokens']} tokens"
    return Grid(TABLE4_HEAD, lines, f"{backbone}, {length}")


def _record(row: Report) -> dict[str, Any]:
    return {key: value for key, value in row.items() if not isinstance(value, list)}


def _ratio(above: Report, below: Report, key: str) -> str:
    """Return the median ratio of values measured in the same turn."""
    pairs = zip(above[key], below[key], strict=True)
    return number(median(a / b for a, b in pairs), 2)


def _token(row: Report, bare: Report) -> tuple[str, str]:
    """Return the milliseconds of a token after the first and its ratio to bare's, dashes unless they are positive.

    They are differences of two measured times, which noise can exceed.
    """
    step = median(row["step_seconds"])
    if step <= 0:
        return DASH, DASH
    ratio = _ratio(row, bare, "step_seconds") if min(bare["step_seconds"]) > 0 else DASH
    return number(1000 * step, 1), ratio


def _origin(backbone: str, report: Report) -> str:
    machine, versions = report.get("machine", {}), report.get("versions", {})
    where = machine.get("gpu", machine.get("cpu", report.get("device")))
    weights = ", random weights" if report.get("settings", {}).get("weights") == "random" else ""
    recorded = ", recorded steps" if report.get("settings", {}).get("recorded") else ""
    return (
        f"{backbone}: {report.get('dtype')}{weights}{recorded}, {where}, {report.get('threads')} threads, load "
        f"{machine.get('load')}, torch {versions.get('torch')}, {report.get('created')}, commit "
        f"{report.get('git', {}).get('commit') or 'unknown'}. Speeds are ratios to what ran in the same turn; "
        "of limit: the time of a token over that of reading the weights once. On a CPU, memory is the whole process's."
    )


def _beams(backbone: str, report: Report) -> dict[str, str]:
    points: dict[str, list[tuple[float, float]]] = {}
    for row in report["rows"]:
        step = median(row["step_seconds"])
        if step > 0:
            points.setdefault(row["what"], []).append((row["num_beams"], 1000 * step))
    drawing = line_chart(
        [Series(name, some) for name, some in points.items()],
        title=f"{backbone}: time of a token",
        x_label="beams",
        y_label="milliseconds",
    )
    return {f"{backbone}-beams.svg": drawing} if drawing else {}


def tenants_document(backbone: str, report: Report) -> tuple[Document, dict[str, str]]:
    """Lay out a measurement of many tenants, and draw time against the number of distinct tenants in a batch."""
    title = f"Many tenants over {backbone}: {report['instruction_tokens']} + {report['new_tokens']} tokens, greedy"
    document = Document(f"{backbone}-tenants", title, notes=[_origin(backbone, report)])
    lines: list[Line] = []
    points: dict[str, list[tuple[float, float]]] = {}
    bare: Report = {}
    for row in report["rows"]:
        bare = row if row["what"] == "bare" else bare
        size = row["bytes_per_tenant"]
        low, high = row["ratio_5_95"]
        lines.append(
            [
                *(str(row[key]) for key in ("rows", "distinct", "pool", "popularity", "what")),
                number(median(row["seconds"]), 3),
                number(row["ratio_to_bare"], 2),
                f"{low:.2f} to {high:.2f}",
                *_token(row, bare),
                DASH if size is None else number(size / 2**20, 2),
            ]
        )
        document.records.append(_record(row))
        if row["popularity"] == "distinct" or row["rows"] == 1:
            points.setdefault(row["what"], []).append((row["distinct"], median(row["seconds"])))
    document.grids.append(Grid(TENANTS_HEAD, lines))
    drawing = line_chart(
        [Series(name, some) for name, some in points.items()],
        title=f"{backbone}: every row has a tenant of its own",
        x_label="rows of a batch",
        y_label="seconds",
        log_x=True,
    )
    return document, ({f"{backbone}-tenants.svg": drawing} if drawing else {})


def train_document(backbone: str, report: Report) -> tuple[Document, dict[str, str]]:
    """Lay out a measurement of training steps."""
    length = report["tokens"] / report["examples"]
    title = f"Training {backbone}: {report['batch']} rows a step, {length:.0f} tokens a row"
    document = Document(f"{backbone}-train", title, notes=[_origin(backbone, report)])
    rates = ", ".join(
        f"{rate / 1e9:.0f} GFLOP/s ({dtype})" for dtype, rate in report["peak_rate"].items()
    )
    document.notes += [
        "Of Trainer: times as fast as Trainer and peft with random batches in the first dtype; alike: with batches of "
        f"similar length in the same dtype. Of peak: of the measured rate of this backbone's matrix products, {rates}; "
        "only products of linear maps on real tokens count. Memory is that of weights and steps.",
        *(
            f"The same rows with the same parameters: loss {ours:.6f} with {name}, {theirs:.6f} with peft's."
            for name, (ours, theirs) in report["losses"].items()
        ),
    ]
    lines: list[Line] = []
    for row in report["rows"]:
        entries = [str(row["what"]), str(row["dtype"]), number(row["examples_per_second"], 2)]
        for peer in ("usual", "grouped"):
            low, high = row[f"speed_to_{peer}_5_95"]
            entries += [number(row[f"speed_to_{peer}"], 2), f"{low:.2f} to {high:.2f}"]
        share = row.get("share_of_peak")
        entries += [
            DASH if share is None else f"{100 * share:.0f} %",
            number(row["peak_mib"], 0),
            number(row["memory_to_usual"], 2),
        ]
        lines.append([*entries])
        document.records.append(_record(row))
    document.grids.append(Grid(TRAIN_HEAD, lines))
    return document, {}


DOCUMENTS: Mapping[str, Callable[[str, Report], tuple[Document, dict[str, str]]]] = {
    "table4": table4_document,
    "tenants": tenants_document,
    "train": train_document,
}
