"""The answers of tiles: put into their place whole, and summed up for the manifest."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from app.clouds import reference
from app.clouds.cloud import Cloud
from app.survey import files, target
from app.survey.tile import Tile
from app.survey.workers import Task

PARTIAL = ".partial"  # folder of files that are not whole yet, in that of the answers
MAX_COUNTED = 1 << 22  # pairs of code and label that are counted in an array


def place(chunks: Iterable[bytes], task: Task, tile: Tile) -> target.Written:
    """Write ``chunks`` to ``task.output`` whole or not at all, as ``target.write`` does.

    Raises what that raises, and BadCloud if the file of ``tile`` has changed since the survey was planned.
    """
    return target.write(
        task.output, chunks, task.partial, lambda: files.check_version(tile), is_passing=task.is_passing
    )


def place_file(file: Path, task: Task, tile: Tile) -> target.Written:
    """Have ``file``, in ``task.partial``, appear as ``task.output``; raises what ``place`` does."""
    return target.place(task.output, file, lambda: files.check_version(tile))


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
