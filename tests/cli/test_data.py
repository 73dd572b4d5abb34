"""`iapt-data`, as typed."""

import shutil
import subprocess
import sys

import pytest

from iapt.cli import data
from iapt.cli.data import main
from iapt.configuration.catalog import names
from iapt.data import hub
from iapt.data.source import Sample
from iapt.tasks.row_task import RowTask


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("IAPT_CACHE", str(tmp_path / "cache"))


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from iapt.cli.data import main; main(['--help']); "
        "print(sorted({'torch', 'transformers', 'datasets', 'hydra'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "preview" in done.stdout
    assert done.stdout.endswith("[]\n")


def test_preview_prints_prompts_of_a_task(capsys):
    assert main(["preview", "task=copa", "backbone=tiny_llama", "n=1", "split=dev"]) == 0
    shown = capsys.readouterr().out
    assert "P·r·e·m·i·s·e" in shown
    assert "copa/dev from 'sample': 50 examples" in shown


def test_preview_reads_a_folder(capsys, tmp_path):
    shutil.copytree(Sample().path / "rte", tmp_path / "rows" / "rte")
    words = ["preview", "task=rte", f"data={tmp_path / 'rows'}", "backbone=tiny_llama", "n=1"]
    assert main(words) == 0
    assert "400 examples" in capsys.readouterr().out


def test_preview_looks_at_the_rows_before_it_makes_a_tokenizer(capsys, monkeypatch):
    from iapt.backbone import load

    made = []
    monkeypatch.setattr(load, "load_tokenizer", lambda backbone: made.append(backbone))
    assert main(["preview", "task=boolq", "data=/nope"]) == 1
    assert "data folder /nope does not exist" in capsys.readouterr().err
    assert made == []


def test_each_command_has_its_page(capsys):
    assert main(["fetch", "--help"]) == 0
    page = capsys.readouterr().out
    assert page.startswith("Usage: iapt-data fetch task=")
    assert "out=FOLDER" in page
    assert main(["preview", "--help"]) == 0
    assert "max_length=2048" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("iapt-data 0.")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["previw"], "Did you mean 'preview'"),
        (["preview", "task=boolqq"], "there is no such task"),
        (["preview", "task=boolq", "n=0"], "n=0: must be a whole number >= 1"),
        (["preview", "task=boolq", "split=tset"], "Did you mean 'test'"),
        (["preview", "task=boolq", "task.template=x"], "has no {field}"),
        (["fetch"], "name the tasks, such as iapt-data fetch task=boolq"),
        (["fetch", "task=boolq", "seed=1"], "unknown key 'seed'; allowed are task, out"),
        (["fetch", "task=boollq"], "there is no such task"),
        (["fetch", "boolq"], "boolq: iapt-data fetch takes task=TASK"),
        (["verify", "a", "b"], "a b: iapt-data verify takes [FOLDER]"),
        (["verify", "root=a"], "unknown key 'root'"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(words, message, capsys):
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error


def test_fetch_offline_says_so_with_exit_code_1(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert main(["fetch", "task=boolq", f"out={tmp_path / 'data'}"]) == 1
    assert "HF_HUB_OFFLINE forbids fetching it" in capsys.readouterr().err
    assert main(["fetch", "task=custom_example"]) == 1
    assert "task=custom_example has no release" in capsys.readouterr().err


def test_fetch_refuses_another_number_of_rows_than_released(capsys, monkeypatch, tmp_path):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("HF_DATASETS_OFFLINE", raising=False)
    rows = [{"question": "q", "passage": "p", "label": 1}] * 3
    monkeypatch.setattr(hub, "_hub_splits", lambda *a: {"train": rows, "validation": rows})
    assert main(["fetch", "task=boolq", f"out={tmp_path / 'data'}"]) == 1
    assert "has 3 rows, but the release has 9427" in capsys.readouterr().err


def test_verify_tells_whole_from_changed(capsys, monkeypatch, tmp_path):
    assert main(["verify", str(tmp_path / "data")]) == 1
    assert "has no data set. Fetch some" in capsys.readouterr().err
    rows = [{"a": 1}]
    monkeypatch.setattr(hub, "OFFLINE", ())
    monkeypatch.setattr(hub, "_hub_splits", lambda *a: {"train": rows})
    for name in ("one", "two"):
        hub.fetch({"kind": "hub"}, name, tmp_path / "data" / name)
    assert main(["verify", str(tmp_path / "data")]) == 0
    assert capsys.readouterr().out == "one: intact\ntwo: intact\n"
    (tmp_path / "data" / "two" / "train.jsonl").write_text("{}\n", "utf-8")
    assert main(["verify", str(tmp_path / "data")]) == 1
    captured = capsys.readouterr()
    assert "two: train.jsonl has changed since it was fetched" in captured.out
    assert "1 of 2 data sets" in captured.err


@pytest.mark.parametrize(("words", "length"), [([], 1024), (["max_length=100"], 100)])
def test_preview_cuts_prompts_to_what_the_backbone_can_read(words, length, capsys, monkeypatch):
    from iapt.data import preview

    monkeypatch.setattr(preview, "preview", lambda task, source, tokens, *_: tokens.max_length)
    assert main(["preview", "task=sst2", "backbone=tiny_llama", *words]) == 0
    assert capsys.readouterr().out == f"{length}\n"


def test_fetch_all_takes_every_release_of_every_task_once(capsys, monkeypatch, tmp_path):
    asked, fetched = [], []
    compose = data.from_words
    monkeypatch.setattr(data, "from_words", lambda words: asked.append(words) or compose(words))
    monkeypatch.setattr(hub.Hub, "fetch", lambda self, dataset, release: fetched.append(dataset))
    monkeypatch.setattr(RowTask, "check_sizes", lambda self, source, dataset: "checked")
    assert main(["fetch", "task=all", f"out={tmp_path}"]) == 0
    assert asked == [[f"task={name}"] for name in names("task")]
    assert {"boolq", "e2e_nlg", "mt_bench", "wikisql"} < set(fetched)
    assert len(fetched) == len(set(fetched))
    assert f"{tmp_path / 'boolq'}: checked\n" in capsys.readouterr().out
