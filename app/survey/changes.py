"""What the answer for a piece of a file has otherwise than the piece: all of it that is kept beside the piece."""

import os
from dataclasses import dataclass

import numpy as np

from app.clouds.las_file import LasFile
from app.errors import BadCloud
from app.survey.piece_file import head_of

PART_POINTS = 1 << 16  # compared at a time


@dataclass(frozen=True)
class Changes:
    """The bytes of records of a piece that its answer changed or added.

    Attributes:
        head: the answer's header and records, without points.
        places: int64 (K,), which bytes of an answer's record these are.
        path: of a file of uint8 (N, K), the points in the order of the piece.
    """

    head: LasFile
    places: np.ndarray
    path: str


def taken(piece: str, answer: str) -> Changes:
    """Those of the LAS file ``answer`` for the LAS file ``piece``; the answer is removed. BadCloud if it has other
    points."""
    old, new = head_of(piece), head_of(answer)
    if new.num_points != old.num_points or new.record_length < old.record_length:
        raise BadCloud(f"The answer for a piece of {old.num_points:,} points has {new.num_points:,}.")
    is_changed = np.zeros(new.record_length, bool)
    is_changed[old.record_length :] = True
    common = slice(0, old.record_length)
    firsts = range(0, old.num_points, PART_POINTS)
    for first in firsts:
        is_changed[common] |= (_read(piece, old, first) != _read(answer, new, first)[:, common]).any(0)
    places = np.flatnonzero(is_changed)
    path = f"{answer}.changes"
    with open(path, "wb") as file:
        for first in firsts:
            file.write(np.ascontiguousarray(_read(answer, new, first)[:, places]).data)
    os.unlink(answer)
    return Changes(new, places, path)


def _read(path: str, head: LasFile, first: int) -> np.ndarray:
    count = min(PART_POINTS, head.num_points - first) * head.record_length
    start = head.points_start + first * head.record_length
    return np.fromfile(path, np.uint8, count, offset=start).reshape(-1, head.record_length)
