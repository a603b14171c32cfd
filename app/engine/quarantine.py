"""Inputs that end the process that computes on them."""

import hashlib
import mmap
import threading
import time
from collections import OrderedDict

from app.engine.packed import Packed
from app.engine.protocol import CloudMeta
from app.errors import Quarantined

STRIKES = 2
HELD_S = 3600.0
MAX_HELD = 1000


class Quarantine:
    """Counts, by the content of a cloud and the model, how often an engine was lost over it. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._strikes: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def __len__(self) -> int:
        return sum(count >= STRIKES for count, _ in self._strikes.values())

    def strike(self, cloud: Packed[CloudMeta], model: str) -> Quarantined | None:
        """Count one loss; the problem to answer with once there were ``STRIKES``."""
        key = _key(cloud, model)
        with self._lock:
            count = self._strikes.pop(key, (0, 0.0))[0] + 1
            self._strikes[key] = (count, time.monotonic())
            while len(self._strikes) > MAX_HELD:
                self._strikes.popitem(last=False)
        return _problem(key) if count >= STRIKES else None

    def check(self, cloud: Packed[CloudMeta], model: str) -> None:
        """Raise Quarantined where the cloud was struck ``STRIKES`` times within ``HELD_S``."""
        if not self._strikes:
            return  # so that clouds are hashed only where there is something to compare with
        key = _key(cloud, model)
        with self._lock:
            count, struck = self._strikes.get(key, (0, 0.0))
            if count and time.monotonic() - struck > HELD_S:
                del self._strikes[key]
                return
        if count >= STRIKES:
            raise _problem(key)

    def pardon(self, cloud: Packed[CloudMeta] | None = None, model: str = "") -> None:
        """Forget the strikes of one cloud, or of all."""
        if not self._strikes:
            return
        key = _key(cloud, model) if cloud else None
        with self._lock:
            if key is None:
                self._strikes.clear()
            else:
                self._strikes.pop(key, None)


def _key(cloud: Packed[CloudMeta], model: str) -> str:
    digest = hashlib.blake2b(repr((model, cloud.layout)).encode(), digest_size=16)
    with mmap.mmap(cloud.fd, 0, access=mmap.ACCESS_READ) as content:
        digest.update(content)
    return digest.hexdigest()


def _problem(key: str) -> Quarantined:
    return Quarantined(
        f"The process that computes was lost {STRIKES} times over this cloud, so it is not run again for "
        f"{HELD_S / 60:.0f} minutes. Please report it with the file; its hash is {key}."
    )
