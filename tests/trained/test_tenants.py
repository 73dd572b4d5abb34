"""`Tenants`: a mixed batch gives every row the text that its adapter gives alone."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from iapt import Tenants, load_run
from iapt.errors import AdapterError, ConfigError
from tests.tiny_runs import tiny_run

TEXTS = ["a fine film", "it never ends", "good", "what a long , long , long day it was"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("tenants")
    return {name: tiny_run(folder, f"method={name}") for name in ("lora", "iapt")}


@pytest.mark.parametrize("num_beams", [1, 3])
def test_every_row_is_as_if_its_tenant_were_alone(runs: dict[str, Path], num_beams: int):
    tenants = Tenants.load({"anna": runs["lora"], "bob": runs["iapt"]}, device="cpu")
    assert tenants.names == ("anna", "bob")
    options = {"num_beams": num_beams, "max_new_tokens": 8}
    alone = {name: load_run(runs[run], device="cpu").generate(TEXTS, **options)
             for name, run in (("anna", "lora"), ("bob", "iapt"))}  # fmt: skip
    model = load_run(runs["lora"], device="cpu")
    with model.bare():
        alone[None] = model.generate(TEXTS, **options)
    assert len({tuple(texts) for texts in alone.values()}) == 3, "the tenants say different things"
    for names in (
        ["anna", "bob", None, "anna"],
        ["bob", "anna", "bob", None],
        [None] * 4,
        ["bob"] * 4,
    ):
        found = tenants.generate(TEXTS, names, **options)
        assert found == [alone[name][i] for i, name in enumerate(names)]


def test_each_tenant_reads_text_in_its_own_template(runs: dict[str, Path], tmp_path: Path):
    other = Path(shutil.copytree(runs["lora"] / "adapter", tmp_path / "other"))
    config = json.loads((other / "adapter_config.json").read_text())
    config["backbone"]["template"] = "Question: {query} Answer:"
    (other / "adapter_config.json").write_text(json.dumps(config))
    tenants = Tenants.load({"one": runs["lora"], "two": other}, device="cpu")
    found = tenants.generate([TEXTS[0]] * 2, ["one", "two"], max_new_tokens=8)
    own = load_run(other, device="cpu").generate([TEXTS[0]], num_beams=1, max_new_tokens=8)
    assert found[1] == own[0] != found[0]
    first = load_run(runs["lora"], device="cpu")
    with first.bare():
        bare = first.generate([TEXTS[0]], num_beams=1, max_new_tokens=8)
    assert tenants.generate([TEXTS[0]], [None], max_new_tokens=8) == bare, "as the first reads it"


def test_texts_are_decoded_greedily_up_to_64_tokens_unless_asked(
    runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
):
    asked: list[tuple[int, int]] = []

    def noted(*_: Any, num_beams: int, max_new_tokens: int, **__: Any) -> list[str]:
        asked.append((num_beams, max_new_tokens))
        return []

    monkeypatch.setattr("iapt.trained.tenants.decode", noted)
    tenants = Tenants.load({"anna": runs["lora"]}, device="cpu")
    tenants.generate(["x"], ["anna"])
    tenants.generate(["x"], ["anna"], num_beams=2, max_new_tokens=9)
    assert asked == [(1, 64), (2, 9)]


def test_mistakes_are_named_before_anything_is_decoded(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("iapt.trained.tenants.decode", lambda *_, **__: pytest.fail("decoded"))
    tenants = Tenants.load({"anna": runs["lora"]}, device="cpu")
    with pytest.raises(AdapterError, match=r"tenant 'ann' is unknown; there are anna.*'anna'"):
        tenants.generate(["x"], ["ann"])
    with pytest.raises(ConfigError, match="names: 1 for 2 texts"):
        tenants.generate(["x", "y"], ["anna"])
    with pytest.raises(ConfigError, match="num_beams=0"):
        tenants.generate(["x"], ["anna"], num_beams=0)
    for texts, names, message in (
        ("abcd", ["anna"] * 4, r"texts='abcd': must be a list of texts, not one"),
        ([3], ["anna"], r"texts: must be a list of texts, and 3 is none\."),
        (["x"] * 4, "anna", r"names='anna': must be a list of tenants' names"),
        (["x"], [3], r"names: must be a list of tenants' names, .*, and 3 is none\."),
        (None, ["anna"], r"texts=None: must be a list"),
    ):
        with pytest.raises(ConfigError, match=message):
            tenants.generate(texts, names)
    for given in ({}, [runs["lora"]], str(runs["lora"])):
        with pytest.raises(ConfigError, match="at least one tenant and its run"):
            Tenants.load(given)
    with pytest.raises(ConfigError, match=r"runs: .* names with their runs, and None is none"):
        Tenants.load({None: runs["lora"]})
    other = Path(shutil.copytree(runs["lora"] / "adapter", tmp_path / "other"))
    config = json.loads((other / "adapter_config.json").read_text())
    config["backbone"]["name"] = "another"
    config["backbone_fingerprint"] = "0123456789abcdef"
    (other / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(
        AdapterError, match=r"'bob' was trained on another .*0123.*'anna' on tiny_llama"
    ):
        Tenants.load({"anna": runs["lora"], "bob": other}, device="cpu")
    with pytest.raises(AdapterError, match=r"trained on another .*0123.*but the loaded one has"):
        Tenants.load({"bob": other}, device="cpu")
