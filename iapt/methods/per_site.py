"""One module for every projection of every block, named ``blocks.<layer>.<site>`` in a checkpoint."""

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
        """The module of one site."""
        block = self[layer]
        assert isinstance(block, nn.ModuleDict)
        return block[site]

    def each(self) -> Iterator[tuple[int, str, Any]]:
        """Block, site and module of all, in forward order."""
        for layer, block in enumerate(self):
            assert isinstance(block, nn.ModuleDict)
            for site, module in block.items():
                yield layer, site, module

    def reading(self, factor: str, what: str, width: Callable[[Any], int]) -> str:
        """Size in numbers: blocks × factor × the widths of one block's sites together.

        Args:
            factor: what every width is multiplied with, e.g. "rank 4".
            what: says in words what the widths are of.
            width: module of a site -> its width.
        """
        block = self[0]
        assert isinstance(block, nn.ModuleDict)
        total = sum(width(module) for module in block.values())
        return f"{len(self)} blocks × {factor} × {total:,}; {what} of {', '.join(block)}"
