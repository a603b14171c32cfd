"""Memory that one request reserves, stage by stage."""

from app.clouds.cloud import SegmentationMeta
from app.clouds.fields import OUTPUTS
from app.engine.body import Body
from app.engine.budget import Reservation
from app.engine.deadline import Deadline
from app.engine.model_card import ModelCard
from app.engine.packed import Packed
from app.engine.protocol import CloudMeta, MemoryNeeded
from app.engine.reader_request import MemoryGrant
from app.options import JOINED_CLASS_BYTES, Options
from app.refine.steps import wanted

AT_ONCE_BYTES, AT_ONCE_TIMES = 4 << 20, 16  # granted before a file was looked at: so much, and so many times its size
AT_ONCE_SHARE = 16  # one part in so many of all memory at most
POINT_BYTES = 288  # of a point in an engine beside its pass: coordinates, voxels, transforms, neighbours


def point_bytes(options: Options) -> int:
    """Bytes of a point in an engine beside its pass and its answer, with ``options``."""
    return POINT_BYTES + max((step.point_bytes for step in wanted(options)), default=0)


def class_bytes(card: ModelCard, options: Options) -> int:
    """Bytes of a class of a point there, with the model of ``card``."""
    of_mode = options.mode.class_bytes + (JOINED_CLASS_BYTES if card.is_joined else 0)
    return max([of_mode, *(step.class_bytes for step in wanted(options))])


class RequestMemory:
    """The memory that one request reserves.

    Each method is called as its stage begins; it waits for the memory and raises what ``Reservation.resize`` raises.
    """

    def __init__(self, reservation: Reservation, card: ModelCard, options: Options, deadline: Deadline):
        self._reservation = reservation
        self._deadline = deadline
        asked = (OUTPUTS[name] for name in ("labels", *options.fields))
        row_bytes = sum(field.row_bytes(card.num_classes, card.num_features) for field in asked)
        answer_bytes = class_bytes(card, options) * card.num_classes + 2 * row_bytes  # once more as a memory file
        self._point_bytes = point_bytes(options) + answer_bytes

    def decoding(self, body: Body) -> MemoryGrant:
        """For reading ``body``; what is asked for beyond is enough for segmenting it, too."""
        most = self._reservation.total_bytes // AT_ONCE_SHARE
        at_once = min(AT_ONCE_BYTES + AT_ONCE_TIMES * body.size, most)

        def enlarge(needed: MemoryNeeded) -> int:
            reading = needed.work_bytes + needed.result_bytes
            segmenting = needed.result_bytes + needed.num_points * self._point_bytes
            self._reservation.resize(max(reading, segmenting), self._deadline, "The cloud")
            return reading

        return MemoryGrant(at_once if self._reservation.add(at_once, 1) else 0, enlarge)

    def segmenting(self, cloud: Packed[CloudMeta]) -> None:
        """For segmenting ``cloud``."""
        self._reservation.resize(cloud.num_bytes + cloud.num_points * self._point_bytes, self._deadline, "The cloud")

    def encoding(self, cloud: Packed[CloudMeta], segmentation: Packed[SegmentationMeta]) -> MemoryGrant:
        """For writing the answer."""
        taken = cloud.num_bytes + segmentation.num_bytes

        def enlarge(needed: MemoryNeeded) -> int:
            writing = needed.work_bytes + needed.result_bytes
            self._reservation.resize(taken + writing, self._deadline, "The answer")
            return writing

        granted = self._reservation.num_bytes - taken
        if granted < AT_ONCE_BYTES and self._reservation.add(AT_ONCE_BYTES - granted, 1):
            granted = AT_ONCE_BYTES
        return MemoryGrant(granted, enlarge)

    def kept(self, num_bytes: int, what: str) -> Reservation:
        """All that the request reserves from now on, ``num_bytes`` for ``what`` ("The answer"), for another owner."""
        self._reservation.resize(num_bytes, self._deadline, what)
        return self._reservation.moved()
