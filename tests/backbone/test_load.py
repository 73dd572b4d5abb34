"""Configurations of backbones, and what is refused on loading."""

import json
import logging
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from iapt.backbone import load
from iapt.backbone.config import TINY_VOCAB, BackboneConfig
from iapt.backbone.load import (
    family_of,
    fingerprint,
    load_backbone,
    load_tokenizer,
    tokenizer_at_hand,
)
from iapt.backbone.tiny import tiny_tokenizer
from iapt.cli.overrides import groups
from iapt.errors import BackboneError, ConfigError
from tests.composed import composed
from tests.hub_server import HubServer
from tests.tiny import new_backbone, tiny_dims

CPU = torch.device("cpu")
WEIGHTS = "model.safetensors"


def config(name: str = "tiny_llama", /, **changes: object) -> BackboneConfig:
    return BackboneConfig.from_mapping({**composed(f"backbone={name}")["backbone"], **changes})


@pytest.mark.parametrize("name", groups()["backbone"])
def test_every_entry_is_complete(name: str):
    entry = config(name)
    assert entry.name == name
    assert "{query}" in entry.template
    if entry.kind == "hub":
        assert entry.revision is not None
        assert len(entry.revision) == 40, "a hub checkpoint is pinned to a commit"


@pytest.mark.parametrize("name", [n for n in groups()["backbone"] if n.startswith("tiny")])
def test_tiny_twins_load_frozen_and_the_same_each_time(name: str):
    entry = config(name)
    one, two = load_backbone(entry, CPU), load_backbone(entry, CPU)
    assert one.fingerprint == two.fingerprint
    assert one.backbone.dims == entry.dims
    assert not any(p.requires_grad for p in one.backbone.model.parameters())
    tokenizer = load_tokenizer(entry)
    text = "Ünïcode, and a question?"
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids) == text


def test_loading_draws_nothing_from_the_random_state():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    load_backbone(config(), CPU)
    assert torch.equal(torch.rand(2), expected)


def test_dtype_and_attention_are_taken():
    loaded = load_backbone(config(dtype="bfloat16", attn="eager"), CPU)
    assert loaded.backbone.model.dtype == torch.bfloat16
    assert loaded.backbone.model.config._attn_implementation == "eager"
    assert config(dtype="auto").torch_dtype(CPU) == torch.float32
    assert config(dtype="auto").torch_dtype(torch.device("cuda")) == torch.bfloat16


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "hubs"}, r"backbone\.kind='hubs'.*embedded, hub, tiny.*Did you mean 'hub'"),
        ({"dtype": "float23"}, r"backbone\.dtype='float23'.*Did you mean 'float32'"),
        ({"attn": "flash"}, r"backbone\.attn='flash'.*sdpa, eager"),
        ({"attn": 3}, r"backbone\.attn=3"),
        ({"checkpont": "x"}, r"backbone\.checkpont.*Did you mean 'checkpoint'"),
        ({"kind": "hub"}, r"backbone\.checkpoint=None: kind=hub needs"),
        (
            {"kind": "hub", "checkpoint": ""},
            r"backbone\.checkpoint='': must be text that is not empty",
        ),
        ({"template": 5}, r"backbone\.template=5: must be text"),
        ({"name": None}, r"backbone\.name=None: must be a name for files"),
        ({"name": "a/b"}, r"backbone\.name='a/b': must be a name for files"),
        ({"bos": 5}, r"backbone\.bos=5: must be true or false"),
        ({"dims": 5}, r"backbone\.dims=5: must be a mapping with family, num_layers"),
        ({"dims": {"family": "llama"}}, r"backbone\.dims\.num_layers.* missing"),
        ({"dims": {"layers": 3}}, r"backbone\.dims\.layers.*Did you mean 'num_layers'"),
    ],
)
def test_a_wrong_entry_is_named(changes: dict[str, object], message: str):
    with pytest.raises(ConfigError, match=message):
        config(**changes)


def test_a_tiny_backbone_has_a_row_for_every_byte():
    dims = composed("backbone=tiny_llama")["backbone"]["dims"]
    with pytest.raises(ConfigError, match=r"backbone\.dims\.vocab_size=10: must be at least 259"):
        config(dims={**dims, "vocab_size": 10})
    assert len(load_tokenizer(config())) == TINY_VOCAB


def test_every_fault_of_an_entry_is_named_at_once():
    with pytest.raises(ConfigError) as caught:
        config(kind="hubs", bos=1, dims={**composed()["backbone"]["dims"], "num_layers": 0})
    found = str(caught.value).splitlines()
    assert [f.split("=")[0] for f in found] == [
        "backbone.kind", "backbone.dims.num_layers", "backbone.bos"
    ]  # fmt: skip


def test_sizes_other_than_configured_are_refused(monkeypatch: pytest.MonkeyPatch):
    other = new_backbone("llama").model
    monkeypatch.setattr("iapt.backbone.tiny.tiny_model", lambda dims: other)
    with pytest.raises(BackboneError, match="correct the YAML"):
        load_backbone(config(), CPU)


def test_an_unknown_architecture_names_the_supported():
    model = new_backbone("llama").model
    model.config.model_type = "gpt3"
    with pytest.raises(BackboneError, match=r"'gpt3' is not supported.*llama.*Did you mean 'gpt2'"):
        family_of(model)


def test_a_missing_checkpoint_says_what_to_do(tmp_path):
    entry = config(kind="hub", checkpoint=str(tmp_path / "nothing"), revision=None)
    with pytest.raises(BackboneError, match=r"cannot be loaded.*backbone\.checkpoint=<folder>"):
        load_backbone(entry, CPU)


def test_a_local_folder_loads_as_a_checkpoint(tmp_path):
    original = new_backbone("llama")
    original.model.save_pretrained(tmp_path)
    dims = {k: getattr(original.dims, k) for k in original.dims.__dataclass_fields__}
    entry = config(kind="hub", checkpoint=str(tmp_path), revision=None, dims=dims)
    loaded = load_backbone(entry, CPU)
    ids = torch.tensor([[0, 5, 9]])
    assert torch.equal(loaded.backbone(ids), original(ids))
    assert loaded.revision == "local"


def test_a_changed_weight_changes_the_fingerprint():
    model = new_backbone("llama").model
    before = fingerprint(model)
    with torch.no_grad():
        model.lm_head.weight[0, 0] += 1
    assert fingerprint(model) != before


def saved(folder: Path) -> BackboneConfig:
    """A checkpoint in a local folder, in two shards with a tokenizer, and its entry."""
    new_backbone("llama").model.save_pretrained(folder, max_shard_size="50KB")
    tiny_tokenizer().save_pretrained(folder)
    return config(
        kind="hub", checkpoint=str(folder), revision=None, dims=asdict(tiny_dims("llama"))
    )


def test_every_byte_of_a_checkpoint_counts(tmp_path: Path):
    entry = saved(tmp_path)
    known = {load_backbone(entry, CPU).fingerprint}
    assert known == {load_backbone(entry, CPU).fingerprint}
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    places = [(path, place) for path in shards for place in (-1, path.stat().st_size // 2)]
    assert len(places) > 2
    for path, place in places:
        content = bytearray(path.read_bytes())
        content[place] ^= 1
        path.write_bytes(content)
        known.add(load_backbone(entry, CPU).fingerprint)
    beside = ("generation_config.json", "added_tokens.json", "vocab.json", "merges.txt")
    files = ("config.json", "tokenizer.json", "special_tokens_map.json", *beside)
    for name in files:
        with (tmp_path / name).open("a") as file:
            file.write("{}" if name in beside and not file.tell() else "\n")
        known.add(load_backbone(entry, CPU).fingerprint)
    known.add(load_backbone(replace(entry, dtype="bfloat16"), CPU).fingerprint)
    assert len(known) == 1 + len(places) + len(files) + 1
    assert all(text.startswith("sha256:") for text in known)


def test_a_fingerprint_does_not_depend_on_the_order_of_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    entry = saved(tmp_path)
    listed = sorted(tmp_path.iterdir())
    found = []
    for order in (listed, listed[::-1]):
        monkeypatch.setattr(Path, "iterdir", lambda _, order=order: iter(order))
        found.append(load_backbone(entry, CPU).fingerprint)
    assert found[0] == found[1]


def test_the_embedded_model_is_its_wheels_file_and_the_weights_made_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    entry = replace(saved(tmp_path), kind="embedded", checkpoint=None)
    found = []
    for source, weights in (("a", "b"), ("a", "b"), ("other", "b"), ("a", "other")):
        monkeypatch.setattr(load, "embedded_folder", lambda source=source: (tmp_path, source))
        monkeypatch.setattr(load, "digests", lambda _, weights=weights: {WEIGHTS: weights})
        loaded = load_backbone(entry, CPU)
        assert loaded.revision == source
        found.append(loaded.fingerprint)
        with (tmp_path / "config.json").open("a") as file:
            file.write("\n")  # as another version of transformers may
    assert found[0] == found[1]
    assert len(set(found)) == 3


def test_a_checkpoint_gets_the_dtype_and_the_attention_of_its_entry(tmp_path: Path):
    loaded = load_backbone(replace(saved(tmp_path), dtype="bfloat16", attn="eager"), CPU)
    assert loaded.dtype == "bfloat16"
    assert loaded.backbone.model.config._attn_implementation == "eager"


@pytest.mark.parametrize("pad", [None, "<pad>"])
def test_pads_are_the_tokenizers_own_or_the_end_token(pad: str | None, tmp_path: Path):
    entry, tokenizer = saved(tmp_path), tiny_tokenizer()
    assert tokenizer.pad_token == "<pad>"
    tokenizer.pad_token = pad
    tokenizer.save_pretrained(tmp_path)
    assert load_tokenizer(entry).pad_token == (pad or tokenizer.eos_token)


def test_a_text_cannot_begin_with_a_token_that_the_tokenizer_lacks(tmp_path: Path):
    entry, tokenizer = saved(tmp_path), tiny_tokenizer()
    tokenizer.bos_token = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"no BOS token; set backbone\.bos=false"):
        load_tokenizer(replace(entry, bos=True))
    assert load_tokenizer(replace(entry, bos=False)).bos_token is None


def test_a_tokenizer_is_looked_for_without_asking_the_hub(hub: HubServer):
    from huggingface_hub import constants

    entry = BackboneConfig.from_mapping(composed("backbone=llama2_7b")["backbone"])
    assert tokenizer_at_hand(entry) is None
    assert hub.requests == []
    assert constants.HF_HUB_OFFLINE is False, "as it was before"


def test_a_change_that_keeps_size_and_time_is_noticed(tmp_path: Path):
    entry = saved(tmp_path)
    before = load_backbone(entry, CPU).fingerprint
    path = next(tmp_path.glob("model-00001-*"))
    stat = path.stat()
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert load_backbone(entry, CPU).fingerprint != before


def test_weights_that_would_be_unpickled_are_refused(tmp_path: Path):
    entry = saved(tmp_path)
    for path in tmp_path.glob("model*"):
        path.unlink()
    torch.save(new_backbone("llama").model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(BackboneError, match=r"cannot be loaded: .*safetensors"):
        load_backbone(entry, CPU)


def load_both(entry: BackboneConfig) -> None:
    load_tokenizer(entry)
    load_backbone(entry, CPU)


def _shard(folder: Path) -> Path:
    return next(folder.glob("model-00001-*"))


def changed_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "header": lambda f: _shard(f).write_bytes(b"\xff" * 16 + _shard(f).read_bytes()[16:]),
    "truncated": lambda f: _shard(f).write_bytes(_shard(f).read_bytes()[:-9]),
    "empty": lambda f: _shard(f).write_bytes(b""),
    "missing": lambda f: _shard(f).unlink(),
    "index": lambda f: (f / "model.safetensors.index.json").write_bytes(b"{"),
    "config": lambda f: (f / "config.json").write_bytes(b"\xff\xfe"),
    "fewer than no layers": lambda f: changed_config(f, num_hidden_layers=-1),
    "other widths": lambda f: changed_config(f, intermediate_size=8),
    "no config": lambda f: (f / "config.json").unlink(),
    "renamed": lambda f: _shard(f).write_bytes(
        _shard(f).read_bytes().replace(b"embed_tokens", b"embed_tokenz")
    ),
    "tokenizer": lambda f: (f / "tokenizer.json").write_bytes(b"\xff\xfe\xfd"),
    "half a tokenizer": lambda f: (f / "tokenizer.json").write_bytes(b'{"model": {'),
    "no tokenizer": lambda f: [p.unlink() for p in f.glob("tokenizer*")],
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.filterwarnings("ignore")  # of what transformers finds odd before it gives up
def test_a_damaged_checkpoint_is_one_line(damage: str, tmp_path: Path):
    entry = saved(tmp_path)
    DAMAGES[damage](tmp_path)
    reports: list[str] = []
    listener = logging.Handler(logging.WARNING)
    listener.emit = lambda record: reports.append(record.getMessage())  # type: ignore[method-assign]
    theirs = logging.getLogger("transformers")
    theirs.addHandler(listener)
    try:
        with pytest.raises(BackboneError) as caught:
            load_both(entry)
    finally:
        theirs.removeHandler(listener)
    assert not [report for report in reports if "LOAD REPORT" in report]
    message = str(caught.value)
    assert "\n" not in message
    assert str(tmp_path) in message
    assert "backbone.checkpoint=<folder>" in message
