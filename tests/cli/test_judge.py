"""`iapt-judge` from run folders to Table 3 and Table 9, over real HTTP."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from iapt.cli.judge import main
from tests.judge.judge_server import JudgeServer, running_server

pytest.importorskip("openai")

RUN_A = "alpaca--tiny--iapt--quick--seed0--aaaa1111"
RUN_B = "alpaca--tiny--adalora--quick--seed0--bbbb2222"
QUESTIONS = [
    (81, ["Write a post.", "Shorter."]),
    (109, ["Where?", "Why?"]),
    (120, ["f(2)?", "f(3)?"]),
]
GPT4 = {81: ["aloha hawaii", "aloha"], 109: ["west", "sun"], 120: ["four", "nine"]}
ANSWERS_A = {81: ["aloha hawaii", "aloha"], 109: ["west", "x"], 120: ["zero", "x"]}
ANSWERS_B = {81: ["hello", "x"], 109: ["east", "x"], 120: ["four", "nine"]}


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_config(run: Path, data: object) -> None:
    """As a run leaves it; one on a folder keeps the data's name, not where it lay."""
    method = run.name.split("--")[2]
    config = {"data": data, "method": {"_target_": "os.system", "name": method}, "variant": ""}
    (run / "config.json").write_text(json.dumps(config))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data, two runs and their rows, and nothing of the environment."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "OPENAI_BASE_URL", "IAPT_JUDGE_MODEL"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
    monkeypatch.setenv("IAPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    questions = [{"question_id": number, "turns": turns} for number, turns in QUESTIONS]
    write_lines(tmp_path / "data/mt_bench/test.jsonl", questions)
    answers = [
        {"question_id": number, "choices": [{"turns": turns}]} for number, turns in GPT4.items()
    ]
    write_lines(tmp_path / "data/mt_bench/model_answer_gpt4.jsonl", answers)
    for run, given in ((RUN_A, ANSWERS_A), (RUN_B, ANSWERS_B)):
        lines = []
        for row, (number, _) in enumerate(QUESTIONS):
            lines.append({"id": f"mt_bench/test/{row}", "output": given[number][0]})
            lines.append({"id": f"mt_bench/test/{row}/2", "output": given[number][1]})
        write_lines(tmp_path / run / "predictions.jsonl", lines)
        write_config(tmp_path / run, {"name": "folder:data", "fingerprint": "0"})
    return tmp_path


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    with running_server() as running:
        running.answer = taste
        yield running


def taste(prompt: str) -> str:
    """Like the first answer a bit more, and any answer with "aloha" or "four" much more."""
    first, second = prompt.split("Response 1 from assistant 1:\n")[1].split(
        "\nResponse 2 from assistant 2:\n"
    )
    points = [5 + 3 * ("aloha" in text or "four" in text) for text in (first, second)]
    return f"Assistant 1 says little.\nScore: {points[0] + 1}/10\nAssistant 2 says little.\nScore: {points[1]}/10"


def judge(server: JudgeServer, *words: str) -> int:
    given = {word.partition("=")[0] for word in words}
    usual = [
        word for word in ("data=data", "model=gpt-4-test") if word.partition("=")[0] not in given
    ]
    return main([RUN_A, RUN_B, f"base_url={server.base_url}", *usual, *words])


def table3(place: Path) -> dict[str, Any]:
    path = place / f"results/judge/{RUN_A}--vs--{RUN_B}/table3.json"
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return result


def test_two_runs_become_table_3_and_table_9(
    place: Path, server: JudgeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert judge(server) == 0

    result = table3(place)
    a, b = result["rows"]
    assert (a["name"], b["name"]) == ("iapt", "adalora")
    assert a["avg_score"] == pytest.approx((9 + 6 + 6) / 3)
    assert b["avg_score"] == pytest.approx((5 + 5 + 8) / 3)
    assert a["rouge_l"] == pytest.approx(200 / 3)
    assert b["rouge_l"] == pytest.approx(100 / 3)
    assert (a["n"], a["n_unparsed"]) == (3, 0)
    assert result["usage"]["requests"] == 3
    assert result["usage"]["usd"] is None
    folder = place / f"results/judge/{RUN_A}--vs--{RUN_B}"
    case = (folder / "table9.md").read_text()
    assert "# Case 81" in case
    assert "aloha hawaii" in case
    assert len((folder / "judgements.jsonl").read_text().splitlines()) == 3
    assert "iapt: score 7.00, ROUGE-L 66.7" in capsys.readouterr().out
    assert "secret-key" not in "".join(path.read_text() for path in folder.iterdir())


def test_two_runs_from_iapt_train_are_read_as_they_are(place: Path, server: JudgeServer) -> None:
    from iapt.run import run
    from tests.composed import composed

    rows = [
        row
        for method in ("lora", "bitfit")
        if (
            row := run(
                composed(
                    *("task=alpaca", "backbone=tiny_llama", f"method={method}", "device=cpu"),
                    *("hparams.max_steps=1", "limit.train=4", "limit.dev=2", "limit.test=2"),
                    *("task.max_new_tokens=3", "task.num_beams=2"),
                )
            )
        )
    ]
    folders = [f"runs/{row.run_id}" for row in rows]

    words = [*folders, f"base_url={server.base_url}", "model=gpt-4", "turns=both", "swap=true"]
    assert main(words) == 0

    path = place / f"results/judge/{rows[0].run_id}--vs--{rows[1].run_id}/table3.json"
    result = json.loads(path.read_text(encoding="utf-8"))
    assert [row["name"] for row in result["rows"]] == ["lora", "bitfit"]
    assert [row["n"] for row in result["rows"]] == [2, 2]
    assert result["judge"]["replies"] == 4  # equal answers are asked about once
    for row, scored in zip(rows, result["rows"], strict=True):
        saved = json.loads((place / f"results/rows/{row.run_id}.json").read_text())
        assert saved["scores"]["details"]["gpt-4-both-turns"] == scored["avg_score"]
        assert scored["rouge_l"] == pytest.approx(saved["scores"]["value"])


def test_swap_cancels_the_favour_and_asks_only_for_what_is_new(
    place: Path, server: JudgeServer
) -> None:
    assert judge(server) == 0
    assert judge(server, "swap=true") == 0

    result = table3(place)
    assert [row["avg_score"] for row in result["rows"]] == pytest.approx([6.5, 6.5])
    assert (result["usage"]["requests"], result["usage"]["cached"]) == (3, 3)
    assert result["judge"]["replies"] == 6


def test_a_run_that_broke_off_goes_on_where_it_was(
    place: Path, server: JudgeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.plan = ["ok", "ok", "401"]
    assert judge(server, "retries=0") == 1
    assert "answered 401" in capsys.readouterr().err
    assert not list((place / "results").rglob("*.*"))

    assert judge(server, "retries=0") == 0

    usage = table3(place)["usage"]
    assert (usage["requests"], usage["cached"]) == (1, 2)
    assert len(server.bodies) == 4


def test_a_server_that_misbehaves_in_every_way_is_survived(
    place: Path, server: JudgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    import openai

    from iapt.judge import endpoint

    monkeypatch.setattr(openai._base_client, "INITIAL_RETRY_DELAY", 0.01)
    monkeypatch.setattr(endpoint, "_FIRST_DELAY_SECONDS", 0.01)
    server.plan = ["429", "cut", "ok", "html", "half", "500", "ok", "nonsense", "I do not know."]

    assert judge(server) == 0

    result = table3(place)
    assert (result["rows"][0]["n"], result["rows"][0]["n_unparsed"]) == (2, 1)
    assert result["judge"]["replies_unparsed"] == 1


def test_cost_is_reported_from_the_prices_given(place: Path, server: JudgeServer) -> None:
    assert judge(server, "usd_per_million_input=30", "usd_per_million_output=60") == 0
    assert table3(place)["usage"]["usd"] == pytest.approx(3 * (100 * 30 + 20 * 60) / 1e6)

    assert judge(server, "usd_per_million_input=30", "usd_per_million_output=60") == 0
    assert table3(place)["usage"]["usd"] == 0  # all from disk


def test_both_turns_are_judged_as_one_dialogue(place: Path, server: JudgeServer) -> None:
    assert judge(server, "turns=both") == 0

    prompt = server.bodies[0]["messages"][0]["content"]
    assert "Query:\nTurn 1: Write a post.\n\nTurn 2: Shorter.\nResponse 1" in prompt
    assert "Turn 1: aloha hawaii\n\nTurn 2: aloha\nResponse 2" in prompt


def test_result_rows_of_the_runs_get_the_score(place: Path, server: JudgeServer) -> None:
    from iapt.results.row_files import read_rows

    cell = {"task": "alpaca", "backbone": "tiny", "method": "iapt", "hparams": "quick"}
    raw = {
        **{"schema": 1, "status": "finished", "run_id": RUN_A, "created": "2026-11-23T22:50:00Z"},
        "cell": {**cell, "data": "sample", "seed": 0, "variant": ""},
        **{"config": {}, "config_hash": "c", "setting_hash": "s"},
        "scores": {"metric": "rouge-l", "value": 40.0, "n": 3, "n_unparsed": 0, "details": {}},
    }
    path = place / f"results/rows/{RUN_A}.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(raw))

    assert judge(server) == 0

    (row,), warnings = read_rows(place / "results/rows")
    assert warnings == []
    assert (row.scores.metric, row.scores.value) == ("rouge-l", 40.0)
    assert row.scores.details == {"gpt-4": pytest.approx(7.0)}
    assert row.judge is not None
    assert row.judge["model"] == "gpt-4-test"

    # Neither another model nor the whole dialogue is what Table 3's column is about.
    for model in ("gpt-4o", "gpt-4.1-mini", "local/llama"):
        assert judge(server, f"model={model}") == 0
    assert judge(server, "model=openai/gpt-4-0613", "turns=both") == 0
    (row,), _ = read_rows(place / "results/rows")
    assert set(row.scores.details) == {"gpt-4", "judge", "gpt-4-both-turns"}


def test_environment_names_the_endpoint(
    place: Path, server: JudgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
    monkeypatch.setenv("IAPT_JUDGE_MODEL", "from-the-environment")

    assert main([RUN_A, RUN_B, "data=data"]) == 0

    assert {body["model"] for body in server.bodies} == {"from-the-environment"}
    assert set(server.keys) == {"Bearer secret-key"}


def test_openai_itself_needs_a_key(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")

    for data in ("data", "hub"):  # with the hub, before anything is fetched
        assert main([RUN_A, RUN_B, f"data={data}"]) == 2
        assert "OPENAI_API_KEY is not set" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([RUN_A], f"{RUN_A}: iapt-judge takes RUN_A RUN_B"),
        ([RUN_A, RUN_B, "swop=true"], "unknown key 'swop'.*Did you mean 'swap'"),
        ([RUN_A, RUN_B, "swap=maybe"], "swap=maybe: must be true or false"),
        ([RUN_A, RUN_B, "timeout=1e20"], "timeout=1e20: must be a number >= 0 and <= 86400"),
        ([RUN_A, RUN_B, "out=~nobody1/x"], "out=~nobody1/x: no such home folder"),
        ([RUN_A, RUN_B, "turns=second"], "turns=second: must be one of first, both"),
        ([RUN_A, RUN_B, "data=data", "case=7"], "case=7: allowed are 81, 109, 120"),
        ([RUN_A, RUN_B, "names=one"], "names=one: give two"),
        ([RUN_A, "nowhere", "data=data"], "nowhere is not a folder; give the folder of a finished"),
        (
            [RUN_A, "data", "data=data"],
            "data has no predictions.jsonl; give the folder of a finished",
        ),
        ([RUN_A, RUN_B], "used data='folder:data' and does not record its path; give data="),
        ([RUN_A, RUN_B, "data=hub"], "mt_bench is not in .*iapt-data fetch"),
        ([RUN_A, RUN_B, "data=missing"], "data folder missing does not exist"),
    ],
)
def test_mistakes_are_found_before_anything_is_asked(
    place: Path,
    server: JudgeServer,
    words: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import re

    assert main([*words, f"base_url={server.base_url}"]) in (1, 2)
    assert re.search(message, capsys.readouterr().err)
    assert server.bodies == []


def test_a_run_on_the_sample_needs_no_data_word(place: Path, server: JudgeServer) -> None:
    from iapt.data.source import Sample

    count = len(Sample().rows("mt_bench", "test"))
    for run in (RUN_A, RUN_B):
        write_config(place / run, {"_target_": "iapt.data.source.Sample"})
        lines = [{"id": f"mt_bench/test/{row}", "output": "x"} for row in range(count)]
        write_lines(place / run / "predictions.jsonl", lines)

    assert main([RUN_A, RUN_B, f"base_url={server.base_url}", "model=m"]) == 0

    assert table3(place)["rows"][0]["n"] == count


@pytest.mark.parametrize(
    "config", ['{"data": {"_target_": "os.system", "command": "touch evil"}}', "{}", "{", None]
)
def test_a_run_that_does_not_say_what_data_it_had_is_refused(
    config: str | None, place: Path, server: JudgeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / RUN_A / "config.json").unlink()
    if config is not None:
        (place / RUN_A / "config.json").write_text(config)

    assert main([RUN_A, RUN_B, f"base_url={server.base_url}"]) == 2
    assert "give data=" in capsys.readouterr().err
    assert not (place / "evil").exists()


def test_data_without_gpt4s_answers_is_refused_as_a_run_on_it_would_be(
    place: Path, server: JudgeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "data/mt_bench/model_answer_gpt4.jsonl").unlink()

    assert judge(server) == 1
    assert "has no model_answer_gpt4.jsonl" in capsys.readouterr().err
    assert server.bodies == []


def test_a_run_is_called_by_the_method_in_its_configuration_whatever_its_folder_is_named(
    place: Path, server: JudgeServer
) -> None:
    (place / RUN_A).rename(place / "renamed")
    words = [f"base_url={server.base_url}", "model=m", "data=data"]

    assert main(["renamed", RUN_B, *words]) == 0
    path = place / f"results/judge/renamed--vs--{RUN_B}/table3.json"
    assert [row["name"] for row in json.loads(path.read_text())["rows"]] == ["iapt", "adalora"]

    (place / "renamed/config.json").write_text('{"method": {"name": "# a\\nheading"}}')
    assert main(["renamed", RUN_B, *words]) == 0
    assert json.loads(path.read_text())["rows"][0]["name"] == "renamed"


def test_the_folders_are_looked_at_before_the_key(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")

    assert main(["a", "b"]) == 1
    assert "a is not a folder" in capsys.readouterr().err


def test_a_password_in_the_address_reaches_the_server_and_nothing_else(
    place: Path, server: JudgeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"base_url={server.base_url.replace('//', '//ada:pw@')}"
    assert main([RUN_A, RUN_B, address, "model=m", "data=data"]) == 0
    assert server.keys[0].startswith("Basic ")

    # Words in error are repeated, the password in them is not; nor do the server's own words tell it.
    server.plan = ["401 ada:pw@host"]
    assert main([RUN_A, RUN_B, address, "model=n", "data=data", "retries=0"]) == 1
    for words in (["base_ulr=http://ada:pw@host"], [address, address], ["base_url=ada:pw@host"]):
        assert main([RUN_A, RUN_B, *words]) == 2

    written = [path.read_text() for path in place.rglob("*") if path.is_file()]
    said = capsys.readouterr()
    assert not [
        text for text in [*written, said.out, said.err] if "pw@" in text or "ada:pw" in text
    ]


def test_help_answers_without_importing_the_heavy_libraries() -> None:
    code = (
        "import sys; from iapt.cli.judge import main; main(['--help']); "
        "heavy = {'torch', 'transformers', 'hydra', 'datasets', 'openai', 'sqlglot'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "iapt-judge RUN_A RUN_B" in done.stdout
