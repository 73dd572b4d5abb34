"""One module per projection of every block, named ``blocks.<layer>.<site>`` in a checkpoint."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import nn


class PerSite(nn.ModuleList):
    """Modules by block and site.

    Args:
        num_layers: number of blocks.
        sites: their projections (names: `iapt.backbone.dims`).
        make: site -> module.
    """

    def __init__(
        self, num_layers: int, sites: Iterable[str], make: Callable[[str], nn.Module]
    ) -> None:
        names = tuple(sites)
        super().__init__(
            nn.ModuleDict({site: make(site) for site in names}) for _ in range(num_layers)
        )

    def at(self, layer: int, site: str) -> Any:
        """Return the module of one site."""
        block = self[layer]
        assert isinstance(block, nn.ModuleDict)
        return block[site]

    def each(self) -> Iterator[tuple[int, str, Any]]:
        """Yield block, site and module of each, in forward order."""
        for layer, block in enumerate(self):
            assert isinstance(block, nn.ModuleDict)
            for site, module in block.items():
                yield layer, site, module
