"""A file descriptor with one owner."""

import os
from dataclasses import dataclass, field
from types import TracebackType
from typing import TypeVar

from app.engine.budget import Reservation

Owner = TypeVar("Owner", bound="OwnedFile")


@dataclass(eq=False)
class OwnedFile:
    """A file that belongs to this object until ``close``.

    Attributes:
        fd: its descriptor, -1 once closed.
        reservation: memory that it takes, given back with it.
    """

    fd: int
    reservation: Reservation | None = field(default=None, kw_only=True)

    def detach(self) -> int:
        """The descriptor, which is the caller's to close from now on."""
        fd, self.fd = self.fd, -1
        return fd

    def close(self) -> None:
        """Give up the file; may be called twice."""
        if self.fd >= 0:
            os.close(self.detach())
        if self.reservation:
            self.reservation.close()

    def __enter__(self: Owner) -> Owner:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
