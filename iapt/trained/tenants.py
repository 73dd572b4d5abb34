"""Many trained adapters over one backbone, which serve each text of a batch with its own adapter.

    tenants = Tenants.load({"anna": "runs/a", "bob": "runs/b"})
    tenants.generate(["...", "...", "..."], ["anna", "bob", None])      # None: the bare backbone

The outputs are those that each adapter would give alone.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from iapt.backbone.device import device_named
from iapt.backbone.load import Loaded, load_backbone, load_tokenizer
from iapt.backbone.tenants import SharedBackbone
from iapt.configuration.plugins import Plugins
from iapt.data.tokens import Tokens
from iapt.errors import AdapterError, ConfigError
from iapt.inference.generate import decode
from iapt.methods.saved import Decoding
from iapt.trained.adapters import Saved, find_run, read_saved
from iapt.trained.model import decoding_with, encode_texts, listed


class Tenants:
    """Adapters by name over one backbone; see `Tenants.load`."""

    def __init__(self, saved: Mapping[str, Saved], loaded: Loaded) -> None:
        self._shared = SharedBackbone(loaded.backbone)
        self._vocab_size = loaded.backbone.dims.vocab_size
        first = next(iter(saved.values()))
        tokenizer = load_tokenizer(first.backbone)
        # The bare backbone reads text as it does for the first tenant.
        self._tokens: dict[str | None, Tokens] = {None: first.tokens(tokenizer)}
        for name, one in saved.items():
            self._shared.add(name, one.method.to(loaded.backbone.device))
            self._tokens[name] = one.tokens(tokenizer)

    @classmethod
    def load(
        cls,
        runs: Mapping[str, str | Path],
        *,
        device: str = "auto",
        plugins: Sequence[str] = (),
        checkpoint: str | None = None,
    ) -> "Tenants":
        """Load adapters that were trained on the same backbone.

        Args:
            runs: name -> run, as for `load_run`.
            device: "auto", "cpu", "cuda" or "cuda:N".
            plugins: modules outside `iapt` whose classes the runs may name.
            checkpoint: hub id or folder of the backbone, if it has moved.

        Raises:
            AdapterError: an adapter cannot be read, or two were trained on different backbones.
            BackboneError: the backbone cannot be loaded.
            ConfigError: `runs` does not name at least one run.
        """
        if not runs or not isinstance(runs, Mapping):
            raise ConfigError(
                "runs: must name at least one tenant and its run, such as {'anna': 'runs/...'}."
            )
        listed("runs", runs, "tenants' names with their runs")
        trusted = Plugins.find(plugins)
        saved = {name: read_saved(find_run(run), trusted) for name, run in runs.items()}
        (leader, first), *others = saved.items()
        for name, one in others:
            if one.config.backbone_fingerprint != first.config.backbone_fingerprint:
                raise AdapterError(
                    f"tenant {name!r} was trained on {_backbone(one)}, {leader!r} on {_backbone(first)}; tenants "
                    "must share one backbone."
                )
        first = saved[leader] = first.moved(checkpoint)  # the backbone is loaded from its place
        loaded = load_backbone(first.backbone, device_named(device))
        first.check(loaded)
        return cls(saved, loaded)

    @property
    def names(self) -> tuple[str, ...]:
        """The tenants, in the order given."""
        return tuple(name for name in self._tokens if name is not None)

    def generate(
        self,
        texts: Sequence[str],
        names: Sequence[str | None],
        *,
        num_beams: int = 1,
        max_new_tokens: int = 64,
    ) -> list[str]:
        """Continue each text with its own adapter.

        Args:
            texts: the users' messages, each placed in the chat template.
            names: the adapter for each text; None is the bare backbone.
            num_beams: beam size.
            max_new_tokens: the longest answer.

        Returns:
            One text each, in order.

        Raises:
            AdapterError: a name is unknown; the message has the nearest.
            ConfigError: texts or names are no list, or their numbers differ.
        """
        texts = listed("texts", texts, "texts")
        whose = "tenants' names, with None for the bare backbone"
        names = listed("names", names, whose, (str, type(None)))
        if len(names) != len(texts):
            raise ConfigError(
                f"names: {len(names)} for {len(texts)} texts; give one for each, None for the bare backbone."
            )
        with self._shared.rows(names):
            pass  # refuses an unknown name before decoding
        decoding = decoding_with(Decoding(), num_beams, max_new_tokens, self._vocab_size)
        instructions: list[tuple[int, ...]] = [()] * len(texts)
        for name, tokens in self._tokens.items():
            mine = [i for i, owner in enumerate(names) if owner == name]
            encoded = encode_texts([texts[i] for i in mine], tokens, decoding.max_new_tokens)
            for i, one in zip(mine, encoded, strict=True):
                instructions[i] = one.instruction
        return decode(
            self._shared,
            instructions,
            self._tokens[None].tokenizer,
            num_beams=decoding.num_beams,
            max_new_tokens=decoding.max_new_tokens,
            batch_tokens=decoding.batch_tokens,
            serving=lambda group: self._shared.rows([names[i] for i in group]),
        )


def _backbone(saved: Saved) -> str:
    return f"{saved.backbone.name} (backbone_fingerprint={saved.config.backbone_fingerprint})"
