"""The answers of tiles: put into their place whole, and summed up for the manifest."""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import numpy as np

from app.clouds import reference
from app.clouds.cloud import Cloud
from app.errors import SHORT, NoRoom, NotReady
from app.survey import files
from app.survey.tile import Tile
from app.survey.workers import Task

PARTIAL = ".partial"  # folder of files that are not whole yet, in that of the answers
MAX_COUNTED = 1 << 22  # pairs of code and label that are counted in an array


def place(chunks: Iterable[bytes], task: Task, tile: Tile) -> tuple[int, str]:
    """Write ``chunks`` to ``task.output`` whole or not at all; size and SHA-256 of the file.

    Raises NoRoom if it cannot be written, NotReady if the machine is short of something at the moment, BadCloud if the
    file of ``tile`` has changed since the survey was planned.
    """
    target = Path(task.output)
    part = Path(task.partial) / uuid4().hex
    size, digest = 0, hashlib.sha256()
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("xb") as file:
                for chunk in chunks:
                    file.write(chunk)
                    digest.update(chunk)
                    size += len(chunk)
                file.flush()
                os.fsync(file.fileno())
            files.check_version(tile)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        kind = NotReady if error.errno in SHORT else NoRoom
        raise kind(f"{target} cannot be written: {error.strerror or error}.") from error
    return size, digest.hexdigest()


@dataclass(frozen=True)
class Summary:
    """Points by class, and how they agree with what the file says; as in ``TileResult``."""

    counts: dict[int, int] = field(default_factory=dict)
    reference: str = ""
    agreement: list[tuple[int, int, int]] = field(default_factory=list)

    @classmethod
    def of(cls, cloud: Cloud, labels: np.ndarray) -> "Summary":
        """Of ``labels`` (N,) for the first N points of ``cloud``; the rest is context."""
        counts = _counted(labels.astype(np.int64))
        found = reference.find(cloud)
        if found is None:
            return cls(counts)
        codes = cloud.extra[found.name][: len(labels)]
        whole = np.isin(codes, found.codes)
        places = np.searchsorted(np.array(found.codes), codes[whole].astype(np.int64))
        least = int(labels.min(initial=0))
        num_labels = int(labels.max(initial=0)) - least + 1
        pairs = _counted(places * num_labels + (labels[whole].astype(np.int64) - least))
        agreement = [
            (found.codes[pair // num_labels], pair % num_labels + least, count) for pair, count in pairs.items()
        ]
        return cls(counts, found.name, agreement)


def _counted(values: np.ndarray) -> dict[int, int]:
    """How often each of the whole numbers ``values`` occurs."""
    least, most = int(values.min(initial=0)), int(values.max(initial=0))
    if most - least < MAX_COUNTED:
        counts = np.bincount(values - least)
        return {int(place) + least: int(counts[place]) for place in np.flatnonzero(counts)}
    found, numbers = np.unique(values, return_counts=True)
    return dict(zip(found.tolist(), numbers.tolist(), strict=True))
