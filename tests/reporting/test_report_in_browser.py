"""The report in headless Chromium (Debian's package `chromium`), at three widths, in light and in dark."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

from iapt.reporting.report import Material, html_report
from iapt.results.cells import collect
from tests.results.example_rows import a_row

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to open the report in"),
]
HOSTILE = "<img src=http://127.0.0.1:9/x onerror=alert(1)></td></table><script>alert(2)</script>"
METHODS = ("lora", "iapt", HOSTILE)
# Item scores of each method's two seeds: which seeds are right on examples e0 to e3.
RIGHT = {
    "lora": ["1111", "1101"],
    "iapt": ["1010", "1000"],
    HOSTILE: ["0000", "0000"],
}
READ = """
const look = () => ({
  rows: [...document.querySelectorAll('.items .i')].filter(r => r.offsetParent)
    .map(r => r.cells[0].firstChild.textContent),
  heads: [...document.querySelectorAll('.items th')].filter(h => h.offsetParent).length - 2,
  pictures: [...document.querySelectorAll('.choice .option')].filter(o => o.offsetParent).length,
  wide: document.documentElement.scrollWidth > innerWidth,
});
const set = (where, value) => { document.querySelector('.items ' + where).value = value; };
document.querySelectorAll('details').forEach(d => d.open = true);
const seen = {first: look()};
set('.a', '0'); set('.as', 'r'); seen.one = look();
set('.b', '1'); set('.bs', 'w'); seen.two = look();
set('.b', '2'); set('.bs', 'u'); seen.unparsed = look();
set('.a', 'x'); set('.as', ''); set('.b', 'x'); set('.bs', 'w'); seen.all = look();
document.body.replaceChildren(JSON.stringify(seen));
"""


def chromium(folder: Path, page: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            *(f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr", *words),
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    rows = []
    for method in METHODS:
        for seed, right in enumerate(RIGHT[method]):
            items = [100.0 * int(one) for one in right]
            scores = {"metric": "acc", "value": sum(items) / 4, "n": 4, "n_unparsed": 0}
            run = f"{METHODS.index(method)}-{seed}"
            rows.append(a_row("sst2", method, seed, scores=scores | {"items": items}, run_id=run))
            (folder / "runs" / run).mkdir(parents=True)
            lines = [
                {
                    "id": f"e{k}",
                    "instruction": HOSTILE,
                    "output": HOSTILE,
                    "parsed": None if method == HOSTILE and k else "yes",
                    "references": [HOSTILE],
                    "score": score,
                }
                for k, score in enumerate(items)
            ]
            text = "".join(json.dumps(line) + "\n" for line in lines)
            (folder / "runs" / run / "predictions.jsonl").write_text(text)
    text = html_report(Material(rows, collect(rows)[0], [HOSTILE], folder / "runs"))
    (folder / "report.html").write_text(text)
    return folder / "report.html"


def looked_at(page: Path, width: int, *words: str) -> dict[str, dict[str, object]]:
    """What is seen before and after using the filters, in a copy that may run the test's own script."""
    text = re.sub(r"<meta http-equiv[^>]*>", "", page.read_text())
    copy = page.with_name("copy.html")
    copy.write_text(text.replace("</body>", f"<script>{READ}</script></body>"))
    size = f"--window-size={width},2000"
    done = chromium(page.parent, copy, "--dump-dom", size, *words)
    body = re.findall(r"<body>(.*)</body>", done.stdout, re.DOTALL)[0]
    found: dict[str, dict[str, object]] = json.loads(unescape(body))
    return found


def test_the_page_writes_nothing_to_the_console_and_asks_nothing_of_the_network(page: Path) -> None:
    log = page.with_name("net.json")
    done = chromium(page.parent, page, "--dump-dom", f"--log-net-log={log}")
    assert "iapt: results" in done.stdout
    assert "CONSOLE" not in done.stderr
    assert "127.0.0.1:9" not in log.read_text()


def test_were_an_escape_missing_the_pages_policy_would_still_stop_it(page: Path) -> None:
    copy, log = page.with_name("broken.html"), page.with_name("broken.json")
    broken = page.read_text().replace("<h1>", f"{HOSTILE}<h1>")
    copy.write_text(broken)
    done = chromium(page.parent, copy, "--dump-dom", f"--log-net-log={log}")
    assert done.stderr.count("Content Security Policy") >= 2
    assert "127.0.0.1:9" not in log.read_text()
    bare = re.sub(r"<meta http-equiv[^>]*>", "", broken)
    copy.write_text(bare.replace("alert(", "Number("))  # a dialog would wait for an answer
    chromium(page.parent, copy, "--dump-dom", f"--log-net-log={log}")
    assert "127.0.0.1:9" in log.read_text()  # so the log would have shown it


@pytest.mark.parametrize("width", [500, 900, 1400])
def test_filters_and_comparison_work_at_every_width(page: Path, width: int) -> None:
    seen = looked_at(page, width)
    assert seen["first"]["rows"] == ["e0", "e1", "e3", "e2"]  # by the variance over methods
    assert seen["first"]["heads"] == 3
    assert seen["first"]["pictures"] == 1
    assert (seen["one"]["heads"], set(seen["one"]["rows"])) == (1, {"e0", "e1", "e3"})
    assert (seen["two"]["heads"], set(seen["two"]["rows"])) == (2, {"e1", "e3"})
    assert (seen["unparsed"]["heads"], set(seen["unparsed"]["rows"])) == (2, {"e1", "e3"})
    assert (seen["all"]["heads"], seen["all"]["rows"]) == (3, [])
    assert not any(found["wide"] for found in seen.values())


def test_the_page_is_dark_where_the_reader_wants_it_dark(page: Path) -> None:
    def corner(*words: str) -> bytes:
        shot = page.with_name("shot.png")
        chromium(page.parent, page, f"--screenshot={shot}", "--window-size=600,400", *words)
        return shot.read_bytes()

    assert _first_pixel(corner()) == (255, 255, 255)
    assert sum(_first_pixel(corner("--blink-settings=preferredColorScheme=0"))) < 150


def _first_pixel(png: bytes) -> tuple[int, int, int]:
    from io import BytesIO

    from matplotlib.image import imread

    red, green, blue = (imread(BytesIO(png), format="png")[0, 0, :3] * 255).round()
    return int(red), int(green), int(blue)
