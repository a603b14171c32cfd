"""Decoded tiles and rings that wait for their use, within a bound of memory."""

from collections import OrderedDict
from collections.abc import Collection
from typing import TypeVar

from app.survey.workers import DecodedTile, Ring

MAX_HANDLES = 250  # each may be two open files

Handle = TypeVar("Handle", DecodedTile, Ring)


class Kept:
    """Decoded tiles and rings by the number of their tile; those used last stay longest.

    ``num_bytes`` is what all of them took when they were added.
    """

    def __init__(self) -> None:
        self.clouds: OrderedDict[int, DecodedTile] = OrderedDict()
        self.rings: OrderedDict[int, Ring] = OrderedDict()
        self.num_bytes = 0
        self._sizes: dict[DecodedTile | Ring, int] = {}

    def add(self, number: int, decoded: DecodedTile, *, keeps_cloud: bool, keeps_ring: bool) -> None:
        """Keep what is needed of a tile that was just decoded and not there yet; close the rest."""
        ring = decoded.ring
        if keeps_cloud and number not in self.clouds:
            self._keep(self.clouds, number, decoded)
        else:
            decoded.close()
        if ring and keeps_ring and number not in self.rings:
            self._keep(self.rings, number, ring)
        elif ring:
            ring.close()

    def _keep(self, part: OrderedDict[int, Handle], number: int, each: Handle) -> None:
        part[number] = each
        self._sizes[each] = each.num_bytes
        self.num_bytes += self._sizes[each]

    def _drop(self, part: OrderedDict[int, Handle], number: int) -> None:
        if each := part.pop(number, None):
            self.num_bytes -= self._sizes.pop(each)
            each.close()

    def drop(self, number: int) -> None:
        """Close what is kept of a tile."""
        self.drop_cloud(number)
        self.drop_ring(number)

    def drop_cloud(self, number: int) -> None:
        """Close a decoded tile, if it is kept; its ring stays."""
        self._drop(self.clouds, number)

    def drop_ring(self, number: int) -> None:
        """Close a ring, if it is kept."""
        self._drop(self.rings, number)

    def shrink(self, most_bytes: int, clouds: Collection[int], rings: Collection[int]) -> None:
        """Close those not used for longest until at most ``most_bytes`` are left; never those in ``clouds`` and
        ``rings``. Tiles go before rings, which are smaller."""
        self._shrink(self.clouds, most_bytes, clouds)
        self._shrink(self.rings, most_bytes, rings)

    def _shrink(self, part: OrderedDict[int, Handle], most_bytes: int, pinned: Collection[int]) -> None:
        for number in list(part):
            if self.num_bytes <= most_bytes and len(self.clouds) + len(self.rings) <= MAX_HANDLES:
                return
            if number not in pinned:
                self._drop(part, number)

    def use(self, number: int, rings: Collection[int]) -> None:
        """Note that a tile and rings are used now."""
        self.clouds.move_to_end(number)
        for each in rings:
            self.rings.move_to_end(each)

    def close(self) -> None:
        """Close everything."""
        for number in {*self.clouds, *self.rings}:
            self.drop(number)
