"""What the words of `iapt-judge` change: the endpoint, the case, the names and where questions come from."""

from pathlib import Path
from typing import Any

import pytest

from iapt.cli.judge import COMMAND, endpoint_from, main
from tests.cli import test_judge
from tests.cli.test_judge import RUN_A, RUN_B, judge, table3, write_config
from tests.judge.judge_server import JudgeServer

pytest.importorskip("openai")
place, server = test_judge.place, test_judge.server  # its fixtures


@pytest.mark.parametrize(
    ("word", "name", "value"),
    [
        ("model=m", "model", "m"),
        ("base_url=http://there/v1", "base_url", "http://there/v1"),
        ("temperature=0.7", "temperature", 0.7),
        ("temperature=null", "temperature", None),
        ("max_tokens=9", "max_tokens", 9),
        ("retries=0", "retries", 0),
        ("timeout=7.5", "timeout_seconds", 7.5),
    ],
)
def test_a_word_about_the_endpoint_reaches_it(
    word: str, name: str, value: object, tmp_path: Path
) -> None:
    def settings(*words: str) -> dict[str, Any]:
        values = COMMAND.parse(["a", "b", f"cache={tmp_path}", *words]).values
        asked = endpoint_from(values, {"OPENAI_API_KEY": "k"}).settings
        fields = ("model", "base_url", "temperature", "max_tokens", "retries", "timeout_seconds")
        return {field: getattr(asked, field) for field in fields}

    usual = settings()
    assert usual[name] != value
    assert settings(word) == usual | {name: value}


def test_without_a_word_the_judge_does_not_draw_at_random(place: Path, server: JudgeServer) -> None:
    assert judge(server) == 0
    assert {body["temperature"] for body in server.bodies} == {0.0}
    assert table3(place)["judge"]["temperature"] == 0.0


def test_table_9_shows_the_query_that_is_asked_for_under_the_given_names(
    place: Path, server: JudgeServer
) -> None:
    assert judge(server, "case=109", "names=Ours, Theirs") == 0
    case = (place / f"results/judge/{RUN_A}--vs--{RUN_B}/table9.md").read_text()
    assert "# Case 109" in case
    ours, theirs = table3(place)["rows"]
    assert (ours["name"], ours["run_id"]) == ("Ours", RUN_A)
    assert (theirs["name"], theirs["run_id"]) == ("Theirs", RUN_B)
    assert case.index("Ours") < case.index("Theirs")


def test_questions_of_a_run_on_fetched_data_are_looked_for_where_the_run_had_them(
    place: Path, server: JudgeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    write_config(place / RUN_A, {"_target_": "iapt.data.hub.Hub", "root": "fetched here"})
    assert main([RUN_A, RUN_B, f"base_url={server.base_url}"]) == 1
    assert "mt_bench is not in fetched here/mt_bench " in capsys.readouterr().err
    write_config(place / RUN_A, {"_target_": "iapt.data.hub.Hub", "root": None})
    assert main([RUN_A, RUN_B, f"base_url={server.base_url}"]) == 1
    assert f"mt_bench is not in {place / 'cache' / 'hub' / 'mt_bench'} " in capsys.readouterr().err
