"""Decoded tiles and rings that wait for their use, within a bound of memory."""

from collections import Counter, OrderedDict
from collections.abc import Collection, Sequence
from typing import TypeVar

from app.survey.workers import Capacity, DecodedTile, Ring

Handle = TypeVar("Handle", DecodedTile, Ring)


class Kept:
    """Decoded tiles and rings by the number of their tile; those used last stay longest.

    ``num_bytes`` is what all of them took when they were added. What is in use stays open when it is dropped.
    """

    def __init__(self) -> None:
        self.clouds: OrderedDict[int, DecodedTile] = OrderedDict()
        self.rings: OrderedDict[int, Ring] = OrderedDict()
        self.num_bytes = 0
        self._sizes: dict[DecodedTile | Ring, int] = {}
        self._users: Counter[DecodedTile | Ring] = Counter()
        self._dropped: set[DecodedTile | Ring] = set()  # and still in use

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
            if self._users[each]:
                self._dropped.add(each)
            else:
                self._close(each)

    def _close(self, each: DecodedTile | Ring) -> None:
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

    def exceeds(self, capacity: Capacity) -> bool:
        """Whether more is kept than workers of ``capacity`` may keep."""
        return self.num_bytes > capacity.kept_bytes or len(self.clouds) + len(self.rings) > capacity.handles

    def shrink(self, capacity: Capacity, clouds: Collection[int], rings: Collection[int]) -> None:
        """Close those not used for longest until no more is kept than ``capacity`` says; never those in ``clouds`` and
        ``rings``. Tiles go before rings, which are smaller."""
        self._shrink(self.clouds, capacity, clouds)
        self._shrink(self.rings, capacity, rings)

    def _shrink(self, part: OrderedDict[int, Handle], capacity: Capacity, pinned: Collection[int]) -> None:
        for number in list(part):
            if not self.exceeds(capacity):
                return
            if number not in pinned:
                self._drop(part, number)

    def used(self, number: int, rings: Collection[int]) -> tuple[DecodedTile, list[Ring]]:
        """A tile and rings that are used from now on, until ``free``."""
        self.clouds.move_to_end(number)
        for each in rings:
            self.rings.move_to_end(each)
        cloud, around = self.clouds[number], [self.rings[each] for each in rings]
        self._users.update([cloud, *around])
        return cloud, around

    def free(self, cloud: DecodedTile, rings: Sequence[Ring]) -> None:
        """Note that they are not used any more by who asked for them."""
        for each in (cloud, *rings):
            self._users[each] -= 1
            if not self._users[each]:
                del self._users[each]
                if each in self._dropped:
                    self._dropped.remove(each)
                    self._close(each)

    def close(self) -> None:
        """Close everything, also what is in use."""
        self.clouds.clear()
        self.rings.clear()
        for each in list(self._sizes):
            self._close(each)
