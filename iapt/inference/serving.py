"""What `iapt-bench what=tenants` times: batches whose rows have different adapters, ours and peft's."""

import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from iapt.backbone.base import Backbone
from iapt.backbone.device import bytes_of
from iapt.backbone.tenants import SharedBackbone
from iapt.errors import ConfigError
from iapt.inference.efficiency import Turn
from iapt.inference.generate import decode_batch
from iapt.inference.peers import peft_lora
from iapt.methods.base import Method

PEER_MIXED = "peft LoRA, adapter_names"
BARE_GENERATE = "transformers generate"


def drawn(popularity: str, rows: int, pool: int, seed: int = 0) -> list[int] | None:
    """Return the tenant of each row of a batch.

    Args:
        popularity: "identical" (one tenant has all rows), "distinct" (every row has another), "uniform"
            (any tenant for any row), or "zipf" (tenant k is 1 / k as popular as the first).
        rows: of the batch.
        pool: number of tenants.
        seed: of the draw.

    Returns:
        Numbers below `pool`; None if "distinct" needs more tenants than there are.
    """
    draw = random.Random(f"{seed}/{popularity}/{rows}/{pool}")
    if popularity == "identical":
        return [draw.randrange(pool)] * rows
    if popularity == "distinct":
        return draw.sample(range(pool), rows) if rows <= pool else None
    weights = None if popularity == "uniform" else [1 / (k + 1) for k in range(pool)]
    return draw.choices(range(pool), weights, k=rows)


class Pool:
    """Many tenants of one method over one backbone.

    Args:
        backbone: bare.
        make: makes a method.
        size: number of tenants.

    Attributes:
        bytes_per_tenant: of a tenant's parameters.
    """

    def __init__(self, backbone: Backbone, make: Callable[[], Method], size: int) -> None:
        self.shared = SharedBackbone(backbone)
        methods = [make().to(backbone.device).eval() for _ in range(size)]
        for i, method in enumerate(methods):
            self.shared.add(f"{i}", method)
        self.bytes_per_tenant = bytes_of(methods[0])

    def serving(self, owners: Sequence[int], decode: Callable[[Backbone, int], object]) -> "Turn":
        """Return the context of one contender: decodes a batch whose rows have these tenants."""

        @contextmanager
        def turn() -> Iterator[Callable[[int], object]]:
            with self.shared.rows([f"{i}" for i in owners]):
                yield lambda new: decode(self.shared, new)

        return turn()


class PeftMixture:
    """peft's mixed batch over the same weights: `generate(adapter_names=[...])`.

    peft's layers take the place of the backbone's only inside `serving`.  Of a pool, only adapters that a batch can
    hold are made: peft's time depends on those in the batch, and each takes it a second to make.
    """

    def __init__(self, backbone: Backbone, adapters: int) -> None:
        self._backbone, self._stack = backbone, peft_lora(backbone)
        model: Any = self._stack.__enter__()
        names = ["default", *(f"{i}" for i in range(1, adapters))]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about names, at every adapter
            for name in names[1:]:
                model.add_adapter(name, model.peft_config["default"])
        model.eval()
        self._model, self._names = model, names
        self._places = [
            (backbone.model.get_submodule(path.rpartition(".")[0]), path.rpartition(".")[2], module)
            for path, module in backbone.model.named_modules()
            if hasattr(module, "base_layer")
        ]
        self._put(theirs=False)

    def _put(self, theirs: bool) -> None:
        for parent, name, layer in self._places:
            setattr(parent, name, layer if theirs else layer.base_layer)

    def close(self) -> None:
        """Restore the backbone."""
        self._put(theirs=True)
        self._stack.__exit__(None, None, None)

    def serving(self, owners: Sequence[int], generate: Callable[..., object]) -> "Turn":
        """Return the context of one contender, as `Pool.serving`."""
        order = {owner: self._names[i] for i, owner in enumerate(dict.fromkeys(owners))}
        adapters = [order[owner] for owner in owners]

        @contextmanager
        def turn() -> Iterator[Callable[[int], object]]:
            self._put(theirs=True)
            try:
                yield lambda new: generate(self._model, new, adapter_names=adapters)
            finally:
                self._put(theirs=False)

        return turn()


def serving(
    backbone: Backbone,
    pools: Mapping[str, Pool],
    peer: PeftMixture | None,
    owners: Sequence[int],
    ids: Tensor,
    eos_token_id: int,
    pad_token_id: int,
) -> dict[str, Callable[[], Turn]]:
    """Return functions that decode one batch greedily: bare, each pool's tenants, and the peers.

    Args:
        backbone: bare.
        pools: method -> its tenants.
        peer: peft's adapters, or None.
        owners: the tenant of each row.
        ids: (B, T) instructions.
        eos_token_id: suppressed.
        pad_token_id: padding.
    """
    mask = torch.ones_like(ids)

    def decode(engine: Backbone, new: int) -> None:
        decode_batch(
            engine, ids, mask, num_beams=1, max_new_tokens=new, min_new_tokens=new,
            eos_token_id=eos_token_id, pad_token_id=pad_token_id,
        )  # fmt: skip

    @torch.no_grad()
    def generate(model: Any, new: int, **options: Any) -> None:
        model.generate(
            input_ids=ids, attention_mask=mask, do_sample=False, pad_token_id=pad_token_id,
            max_new_tokens=new, min_new_tokens=new, **options,
        )  # fmt: skip

    @contextmanager
    def bare() -> Iterator[Callable[[int], object]]:
        yield lambda new: decode(backbone, new)

    @contextmanager
    def bare_generate() -> Iterator[Callable[[int], object]]:
        yield lambda new: generate(backbone.model, new)

    found: dict[str, Callable[[], Turn]] = {"bare": bare}
    for name, pool in pools.items():
        found[name] = lambda pool=pool: pool.serving(owners, decode)  # type: ignore[misc]
    if peer is not None:
        found[BARE_GENERATE] = bare_generate
        found[PEER_MIXED] = lambda: peer.serving(owners, generate)
    return found


def check_room(needed: Mapping[int, int], available: int) -> None:
    """Refuse pools that do not fit into memory.

    Args:
        needed: pool -> bytes of its tenants' parameters.
        available: bytes of memory for them.

    Raises:
        ConfigError: the largest pool does not fit; the message says which would.
    """
    largest = max(needed)
    if needed[largest] > available:
        fit = [pool for pool, size in needed.items() if size <= available]
        raise ConfigError(
            f"pools={largest}: {largest} tenants of each method take {needed[largest] / 2**30:.1f} GiB, and "
            f"{available / 2**30:.1f} GiB are free; use pools={','.join(map(str, fit)) or '1'}, or fewer methods."
        )
