"""The entries that are counted are those in the configuration folder."""

import shutil
from pathlib import Path

import pytest

from iapt.cli import composing, overrides
from iapt.cli.counting import count_entries

BACKBONE = """\
name: small
kind: {kind}
dims: {{family: llama, num_layers: 3, hidden_size: 8, ffn_size: 16, num_heads: 2, num_kv_heads: 2, head_dim: 4,
        vocab_size: 9, max_positions: 64}}
"""


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration folder of two backbones, one of them for tests only, and one method."""
    for group in ("backbone", "method"):
        (tmp_path / group).mkdir()
    for name, kind in (("small", "hub"), ("small_tiny", "tiny")):
        (tmp_path / "backbone" / f"{name}.yaml").write_text(BACKBONE.format(kind=kind))
    shutil.copy(overrides.CONFIG_DIR / "method" / "lora.yaml", tmp_path / "method")
    for module in (overrides, composing):
        monkeypatch.setattr(module, "CONFIG_DIR", tmp_path)
    return tmp_path


def test_a_new_method_file_is_counted_by_itself(configs: Path) -> None:
    assert list(count_entries()["small"]) == ["lora"]
    (configs / "method" / "wide.yaml").write_text("defaults: [lora, _self_]\nname: wide\nrank: 8\n")
    counts = count_entries()
    assert set(counts) == {"small"}
    lora, wide = counts["small"]["lora"], counts["small"]["wide"]
    assert lora["counted"] == 3 * 4 * (4 * 16 + 3 * 24)
    assert lora["trained"] == lora["stored"] == [lora["counted"]] * 2
    assert wide["counted"] == 2 * lora["counted"]


def test_a_method_that_cannot_be_built_on_a_backbone_says_why(configs: Path) -> None:
    (configs / "method" / "none.yaml").write_text("defaults: [lora, _self_]\nname: none\nrank: 0\n")
    counts = count_entries()["small"]
    assert counts["none"] == {"refused": "method.rank=0: must be a whole number >= 1."}
    assert counts["lora"]["counted"]


def test_a_formula_that_names_nothing_known_is_told_in_the_methods_line(configs: Path) -> None:
    (configs / "method" / "odd.yaml").write_text(
        "defaults: [lora, _self_]\nname: odd\nsize: L * rnk\n"
    )
    counts = count_entries()["small"]
    assert "method.size='L * rnk': 'rnk' is not one of" in counts["odd"]["refused"]
    assert counts["lora"]["counted"]


def test_methods_of_any_name_are_counted_and_a_broken_file_is_told_in_its_line(
    configs: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    (folder / "method").mkdir(parents=True)
    for name in ("v1.2", "null", "my method"):
        (folder / "method" / f"{name}.yaml").write_text(
            "_target_: iapt.methods.lora.LoRA\nrank: 4\n"
        )
    (folder / "method" / "broken.yaml").write_text("a: [")
    (folder / "method" / "failing.yaml").write_text("_target_: failing.Failing\n")
    (folder / "failing.py").write_text(
        "from iapt import Method\n\nclass Failing(Method):\n    def __init__(self, dims):\n        1 / 0\n"
    )
    counts = count_entries([folder], ["failing"])["small"]
    assert counts.pop("failing") == {
        "refused": "method: failing.Failing raised ZeroDivisionError: division by zero (failing.py, line 5)."
    }
    assert "broken.yaml: not YAML" in counts.pop("broken")["refused"]
    assert set(counts) == {"lora", "v1.2", "null", "my method"}
    assert {tuple(found["trained"]) for found in counts.values()} == {
        (3 * 4 * (4 * 16 + 3 * 24),) * 2
    }


def test_methods_of_the_users_own_are_counted_too(configs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "method").mkdir(parents=True)
    (folder / "method" / "twice.yaml").write_text("_target_: twice.Twice\nrank: 2\n")
    (folder / "twice.py").write_text(
        "from iapt.methods.lora import LoRA\n\nclass Twice(LoRA):\n    pass\n"
    )
    counts = count_entries([folder], ["twice"])["small"]
    assert set(counts) == {"lora", "twice"}
    assert counts["twice"]["trained"][0] * 2 == counts["lora"]["trained"][0]


def test_a_method_of_the_users_own_that_fails_does_not_hide_the_others(
    configs: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    (folder / "method").mkdir(parents=True)
    (folder / "method" / "broken.yaml").write_text("_target_: broken.Broken\n")
    (folder / "broken.py").write_text(
        "from iapt.methods.base import Method\n\n\nclass Broken(Method):\n"
        "    def __init__(self, dims):\n        self.width = dims.width\n"
    )
    counts = count_entries([folder], ["broken"])["small"]
    assert counts["broken"]["refused"].endswith("'width' (broken.py, line 6).")
    assert counts["lora"]["counted"]
