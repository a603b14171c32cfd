"""Decoded tiles and rings that wait for their use, within a bound of memory."""

from collections import OrderedDict
from collections.abc import Collection

from app.survey.workers import DecodedTile, Ring

MAX_HANDLES = 250  # each may be two open files


class Kept:
    """Decoded tiles and rings by the number of their tile; those used last stay longest."""

    def __init__(self) -> None:
        self.clouds: OrderedDict[int, DecodedTile] = OrderedDict()
        self.rings: OrderedDict[int, Ring] = OrderedDict()

    @property
    def num_bytes(self) -> int:
        """What all of them take."""
        return sum(each.num_bytes for part in (self.clouds, self.rings) for each in part.values())

    def add(self, number: int, decoded: DecodedTile, *, keeps_cloud: bool, keeps_ring: bool) -> None:
        """Keep what is needed of a tile that was just decoded and not there yet; close the rest."""
        ring = decoded.ring
        if keeps_cloud and number not in self.clouds:
            self.clouds[number] = decoded
        else:
            decoded.close()
        if ring and keeps_ring and number not in self.rings:
            self.rings[number] = ring
        elif ring:
            ring.close()

    def drop(self, number: int) -> None:
        """Close what is kept of a tile."""
        self.drop_cloud(number)
        self.drop_ring(number)

    def drop_cloud(self, number: int) -> None:
        """Close a decoded tile, if it is kept; its ring stays."""
        if cloud := self.clouds.pop(number, None):
            cloud.close()

    def drop_ring(self, number: int) -> None:
        """Close a ring, if it is kept."""
        if ring := self.rings.pop(number, None):
            ring.close()

    def shrink(self, most_bytes: int, clouds: Collection[int], rings: Collection[int]) -> None:
        """Close those not used for longest until at most ``most_bytes`` are left; never those in ``clouds`` and
        ``rings``. Tiles go before rings, which are smaller."""
        num_bytes = self.num_bytes
        for part, pinned in ((self.clouds, clouds), (self.rings, rings)):
            for number in list(part):
                if num_bytes <= most_bytes and len(self.clouds) + len(self.rings) <= MAX_HANDLES:
                    return
                if number not in pinned:
                    each = part.pop(number)
                    num_bytes -= each.num_bytes
                    each.close()

    def use(self, number: int, rings: Collection[int]) -> None:
        """Note that a tile and rings are used now."""
        self.clouds.move_to_end(number)
        for each in rings:
            self.rings.move_to_end(each)

    def close(self) -> None:
        """Close everything."""
        for number in {*self.clouds, *self.rings}:
            self.drop(number)
