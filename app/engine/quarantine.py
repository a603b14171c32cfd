"""Quarantine of clouds that crash engines."""

import hashlib
import os
import threading
import time
from collections import OrderedDict
from typing import NamedTuple

from app.engine.packed import Packed
from app.engine.protocol import CloudMeta
from app.errors import Quarantined
from app.options import JOINT

STRIKES = 2
HELD_S = 3600.0
MAX_HELD = 1000
CHUNK_BYTES = 1 << 20


class Input(NamedTuple):
    """Key of a cloud by its content, and the model that it was for."""

    model: str
    num_points: int
    digest: str


class Strikes(NamedTuple):
    """How often an engine was lost over an input, and when and how the last time."""

    times: int
    struck: float
    how: str

    @property
    def are_over(self) -> bool:
        """Whether they are too old to count."""
        return time.monotonic() - self.struck > HELD_S


NONE = Strikes(0, 0.0, "")


class Quarantine:
    """Counts, by the content of a cloud and the model, how often an engine was lost over it. For any thread.

    An input is forgotten ``HELD_S`` after the last loss, when its cloud is answered after all, when its model is loaded
    again, or when ``MAX_HELD`` others came after it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: OrderedDict[Input, Strikes] = OrderedDict()

    def __len__(self) -> int:
        """Inputs that are not run any more."""
        with self._lock:
            return sum(strikes.times >= STRIKES and not strikes.are_over for strikes in self._held.values())

    def strike(self, cloud: Packed[CloudMeta], model: str, how: str) -> Quarantined | None:
        """Count one loss; ``how`` says how the process ended. Gives the problem to answer after ``STRIKES`` losses."""
        key = _input(cloud, model)
        with self._lock:
            before = self._held.pop(key, NONE)
            strikes = Strikes(1 if before.are_over else before.times + 1, time.monotonic(), how)
            self._held[key] = strikes
            while len(self._held) > MAX_HELD:
                self._held.popitem(last=False)
        return _problem(key, strikes) if strikes.times >= STRIKES else None

    def check(self, cloud: Packed[CloudMeta], model: str) -> None:
        """Raise Quarantined if the cloud was struck ``STRIKES`` times within ``HELD_S``."""
        if not self._may_hold(cloud, model):
            return
        key = _input(cloud, model)
        with self._lock:
            strikes = self._held.get(key, NONE)
            if strikes.are_over:
                self._held.pop(key, None)
                return
        if strikes.times >= STRIKES:
            raise _problem(key, strikes)

    def pardon(self, cloud: Packed[CloudMeta], model: str) -> None:
        """Forget the losses of one input."""
        if self._may_hold(cloud, model):
            key = _input(cloud, model)
            with self._lock:
                self._held.pop(key, None)

    def forget(self, model: str) -> None:
        """Forget the losses of all inputs of ``model``, which has changed, alone or taken as one with others."""
        with self._lock:
            for key in [key for key in self._held if model in (key.model, *key.model.split(JOINT))]:
                del self._held[key]

    def _may_hold(self, cloud: Packed[CloudMeta], model: str) -> bool:
        """Whether some input has this model and number of points, so that the cloud must be hashed."""
        with self._lock:
            return any(key.model == model and key.num_points == cloud.num_points for key in self._held)


def _input(cloud: Packed[CloudMeta], model: str) -> Input:
    digest = hashlib.blake2b(repr((model, cloud.layout)).encode(), digest_size=16)
    offset = 0
    while chunk := os.pread(cloud.fd, CHUNK_BYTES, offset):
        digest.update(chunk)
        offset += len(chunk)
    return Input(model, cloud.num_points, digest.hexdigest())


def _problem(key: Input, strikes: Strikes) -> Quarantined:
    return Quarantined(
        f"The process that computes was lost {strikes.times} times over this cloud, the last time because it "
        f"{strikes.how}. So it is not run again for {HELD_S / 60:.0f} minutes. If it is not simply too large for the "
        f"memory of this server, please report it with the file; its hash is {key.digest}."
    )
