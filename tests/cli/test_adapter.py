"""`iapt-adapter`: each of its commands on a tiny run, and what it says when something is wrong."""

import io
import json
import shutil
from pathlib import Path

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM

from iapt import load_run
from iapt.backbone.config import BackboneConfig
from iapt.backbone.load import load_backbone, load_tokenizer
from iapt.cli.adapter import main
from iapt.configuration.catalog import entry
from iapt.errors import ConfigError
from tests.tiny_runs import tiny_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("commands")
    return {name: tiny_run(folder, f"method={name}") for name in ("lora", "iapt")}


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def said(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """What a command that succeeds prints."""
    assert main([str(word) for word in words]) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """The one error of a command that fails."""
    assert main([str(word) for word in words]) in (1, 2)
    captured = capsys.readouterr()
    assert not captured.out
    assert "Traceback" not in captured.err
    (error,) = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    return error


def test_show_says_what_was_trained_and_what_it_can_do(runs, capsys):
    shown = said(capsys, "show", runs["lora"])
    for part in (
        "lora (iapt.methods.lora.LoRA)",
        "rank=4, alpha=8.0",
        "tiny_llama, float32, revision random",
        "'[INST] {query}[/INST]'",
        "acc ",
        "merge            yes",
        "export to peft   yes, as LORA",
        "  blocks.0.q.lora_A  4 x 32  float32",
    ):
        assert part in shown
    shown = said(capsys, "show", runs["iapt"])
    assert "merge            no" in shown
    assert "export to peft   no" in shown


def test_generate_takes_texts_from_words_a_file_or_stdin(runs, capsys, monkeypatch):
    model = load_run(runs["lora"], device="cpu")
    texts = ["a film", "a = b", "one\u2028line"]
    expected = model.generate(texts, max_new_tokens=5, num_beams=1)
    options = ("max_new_tokens=5", "num_beams=1", "device=cpu")
    assert said(capsys, "generate", runs["lora"], *texts, *options) == "\n".join(expected) + "\n"
    Path("texts.txt").write_text("\n".join(texts) + "\n\n")
    assert said(capsys, "generate", runs["lora"], "file=texts.txt", *options) == "\n".join(expected) + "\n"  # fmt: skip
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(texts)))
    assert said(capsys, "generate", runs["lora"], *options) == "\n".join(expected) + "\n"
    with model.bare():
        bare = model.generate(texts, max_new_tokens=5, num_beams=1)
    assert bare != expected
    assert said(capsys, "generate", runs["lora"], *texts, "bare=true", *options) == "\n".join(bare) + "\n"  # fmt: skip
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert "no text" in refused(capsys, "generate", runs["lora"])


def test_texts_that_have_the_chat_template_get_no_other(runs, capsys):
    model = load_run(runs["lora"], device="cpu")
    text, options = "[INST] a film[/INST]", {"max_new_tokens": 5, "num_beams": 1}
    plain, rendered = (model.generate([text], **options, rendered=r) for r in (False, True))
    assert plain != rendered
    words = ("generate", runs["lora"], text, *(f"{k}={v}" for k, v in options.items()))
    assert said(capsys, *words, "rendered=true", "device=cpu") == rendered[0] + "\n"
    assert said(capsys, *words, "device=cpu") == plain[0] + "\n"


def test_evaluate_scores_the_frozen_backbone_alone_on_request(runs, capsys):
    model = load_run(runs["lora"], device="cpu")
    with model.bare():
        bare = model.evaluate()
    assert bare.outputs != model.evaluate().outputs
    said(capsys, "evaluate", runs["lora"], "bare=true", "device=cpu", "out=found")
    lines = Path("found/predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["output"] for line in lines] == bare.outputs
    scores = json.loads(Path("found/scores.json").read_text())
    assert (scores["value"], scores["evaluated"]["bare"]) == (bare.scores.value, True)


@pytest.mark.parametrize(
    "words",
    [
        ("generate", "a film"),
        ("evaluate",),
        ("inspect", "a film"),
        ("merge", "new"),
        ("export", "new"),
    ],
)
def test_a_backbone_that_has_moved_is_taken_from_the_given_place(
    words: tuple[str, ...], runs, capsys, monkeypatch: pytest.MonkeyPatch
):
    asked: list[tuple[str, str]] = []

    def attached(saved: object, device: str, checkpoint: str) -> None:
        asked.append((device, checkpoint))
        raise ConfigError("far enough")

    monkeypatch.setattr("iapt.trained.model.attached", attached)
    verb, *names = words
    where = ("checkpoint=moved/there", "device=cpu")
    assert "far enough" in refused(capsys, verb, runs["lora"], *names, *where)
    assert asked == [("cpu", "moved/there")]


def test_an_imported_adapter_is_for_the_checkpoint_that_is_given(
    capsys, monkeypatch: pytest.MonkeyPatch
):
    asked: list[dict[str, object]] = []

    def import_peft(source: Path, out: Path, backbone: dict[str, object], device: object) -> None:
        asked.append(backbone)
        raise ConfigError("far enough")

    monkeypatch.setattr("iapt.trained.adapters.import_peft", import_peft)
    words = ("import", "for_peft", "new", "backbone=llama2_7b")
    for more in ((), ("checkpoint=moved/there",)):
        assert "far enough" in refused(capsys, *words, *more)
    own = entry("backbone", "llama2_7b")
    there = {"kind": "hub", "checkpoint": "moved/there", "revision": None}
    assert asked == [own, own | there]


def test_evaluate_prints_the_score_and_writes_no_row(runs, capsys):
    stored = json.loads((runs["lora"] / "scores.json").read_text())
    shown = said(capsys, "evaluate", runs["lora"])
    assert f"{stored['metric']} {stored['value']:.1f} on 6 examples" in shown
    assert f"({stored['n_unparsed']} unparsed)" in shown
    words = ("task=boolq", "data=sample", "split=dev", "limit=3", "out=found")
    said(capsys, "evaluate", runs["lora"], *words)
    assert "score" in json.loads(Path("found/predictions.jsonl").read_text().splitlines()[0])
    assert len(Path("found/predictions.jsonl").read_text().splitlines()) == 3
    scores = json.loads(Path("found/scores.json").read_text())
    assert (scores["metric"], scores["n"]) == ("acc", 3)
    evaluated = scores["evaluated"]
    assert (evaluated["task"], evaluated["split"], evaluated["bare"]) == ("boolq", "dev", False)
    assert evaluated["trained"]["run"] == runs["lora"].name
    assert sorted(p.name for p in Path().rglob("*")) == [
        "found",
        "predictions.jsonl",
        "scores.json",
    ]


def test_merge_writes_a_plain_model_and_refuses_what_is_no_change_of_weights(runs, capsys):
    said(capsys, "merge", runs["lora"], "merged", "device=cpu")
    model, ids = load_run(runs["lora"], device="cpu"), torch.arange(3, 40)[None]
    with torch.no_grad():
        plain = AutoModelForCausalLM.from_pretrained("merged")(ids).logits
        torch.testing.assert_close(plain, model.backbone(ids), atol=1e-5, rtol=0)
    assert "already exists" in refused(capsys, "merge", runs["lora"], "merged")
    assert "IAPT cannot be merged" in refused(capsys, "merge", runs["iapt"], "other")
    assert not Path("other").exists()


def test_what_can_be_known_is_refused_before_a_backbone_is_loaded(runs, capsys, monkeypatch):
    def never(*_: object) -> None:
        raise AssertionError("a backbone was loaded")

    for module in ("iapt.trained.model", "iapt.trained.adapters"):
        monkeypatch.setattr(f"{module}.load_backbone", never)
    Path("full").mkdir()
    Path("full/file").touch()
    Path("link").symlink_to("nowhere")
    for out, message in {
        "full": "already exists",
        "full/file": "already exists",
        "link": "already exists",
        ".": "already exists",
        "full/file/new": "full/file: the folder cannot be written",
        "x" * 300: "File name too long",
    }.items():
        for verb in ("merge", "export"):
            assert message in refused(capsys, verb, runs["lora"], out)
        assert message in refused(capsys, "import", "peft", out, "backbone=tiny_llama")
    assert "cannot be merged" in refused(capsys, "merge", runs["iapt"], "new")
    assert "no counterpart" in refused(capsys, "export", runs["iapt"], "new")
    generate = ("generate", runs["lora"], "a film")
    assert "num_beams=260: must be at most 259" in refused(capsys, *generate, "num_beams=260")
    assert "must be less than the 1024" in refused(capsys, *generate, "max_new_tokens=1024")
    assert "num_beams=260" in refused(capsys, "evaluate", runs["lora"], "num_beams=260")
    assert not Path("new").exists()
    assert "is not a folder" in refused(capsys, "show", runs["lora"], "--config-dir=nowhere")


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks for it
def test_export_and_import_keep_the_logits(runs, capsys):
    said(capsys, "export", runs["lora"], "for_peft", "device=cpu")
    model, ids = load_run(runs["lora"], device="cpu"), torch.arange(3, 40)[None]
    with torch.no_grad():
        ours = model.backbone(ids)
        bare = BackboneConfig.from_mapping(entry("backbone", "tiny_llama"))
        fresh = load_backbone(bare, torch.device("cpu")).backbone.model
        theirs = peft.PeftModel.from_pretrained(fresh, "for_peft").eval()(ids).logits
        torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=0)
        shown = said(capsys, "import", "for_peft", "again", "backbone=tiny_llama", "device=cpu")
        assert "lora on tiny_llama" in shown
        assert "None" not in shown, "a random backbone has no checkpoint to name"
        back = load_run("again", device="cpu")
        torch.testing.assert_close(back.backbone(ids), ours, atol=1e-5, rtol=0)
    assert "2 examples" in said(capsys, "evaluate", "again", "task=sst2", "data=sample", "limit=2")
    assert "IAPT has no counterpart in peft" in refused(capsys, "export", runs["iapt"], "other")
    assert not Path("other").exists()
    assert "iapt-adapter import" in refused(capsys, "show", "for_peft")
    assert "backbone: missing" in refused(capsys, "import", "for_peft", "third")
    wrong = refused(capsys, "import", "for_peft", "third", "backbone=tiny_lama")
    assert "backbone=tiny_lama: there is no such" in wrong


def test_a_folder_that_was_given_for_an_import_is_found_from_everywhere(
    runs, capsys, monkeypatch: pytest.MonkeyPatch
):
    said(capsys, "export", runs["lora"], "for_peft", "device=cpu")
    tiny = BackboneConfig.from_mapping(entry("backbone", "tiny_llama"))
    load_backbone(tiny, torch.device("cpu")).backbone.model.save_pretrained("weights")
    load_tokenizer(tiny).save_pretrained("weights")
    words = ("backbone=tiny_llama", "checkpoint=weights", "device=cpu")
    said(capsys, "import", "for_peft", "mine", *words)
    mine = Path("mine").absolute()
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert said(capsys, "generate", mine, "a film", "max_new_tokens=3", "device=cpu")


def test_wrong_words_are_named(runs, capsys):
    assert "'show'" in refused(capsys, "shw", runs["lora"])
    assert "splt" in refused(capsys, "evaluate", runs["lora"], "splt=dev")
    assert "split=tst" in refused(capsys, "evaluate", runs["lora"], "split=tst")
    assert "num_beams=0" in refused(capsys, "generate", runs["lora"], "x", "num_beams=0")
    assert "no such run" in refused(capsys, "show", "runs/nowhere")
    assert "RUN OUT" in refused(capsys, "merge", runs["lora"])


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["data=nowhere"], "data folder nowhere does not exist"),
        (["task=boolk"], "task=boolk: there is no such task"),
        (["out=/dev/null/x"], "/dev/null/x"),
    ],
)
def test_what_cannot_be_scored_is_said_before_the_backbone_is_loaded(
    words: list[str], fault: str, runs, capsys, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("iapt.trained.model.load_backbone", lambda *_: pytest.fail("loaded"))
    assert fault in refused(capsys, "evaluate", runs["lora"], *words)


def test_what_a_terminal_obeys_is_not_shown(runs, capsys, tmp_path: Path):
    copy = Path(shutil.copytree(runs["lora"] / "adapter", tmp_path / "adapter"))
    file = copy / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"revision": "\x1b[2J\nmerge no"}))
    shown = said(capsys, "show", copy)
    assert "\x1b" not in shown
    assert "\nmerge no" not in shown


def test_help_lists_every_command_and_each_has_its_own(capsys):
    page = said(capsys, "--help")
    for verb in ("show", "generate", "evaluate", "merge", "export", "import"):
        assert f"  {verb} " in page
        own = said(capsys, verb, "--help")
        assert f"Usage: iapt-adapter {verb}" in own
        assert ("RUN is a run's folder" in own) == (verb != "import")
    assert said(capsys) == page
    assert said(capsys, "--version").startswith("iapt-adapter ")
