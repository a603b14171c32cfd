"""A tile of a survey and what became of it, as the manifest keeps it."""

import sqlite3
from dataclasses import dataclass, field
from enum import Enum

import orjson

from app.clouds.cloud import Bounds
from app.survey.tile import Tile

PLACED = ("min_x", "min_y", "min_z", "max_x", "max_y", "max_z")


class State(str, Enum):
    """Of a tile in a survey."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    QUARANTINED = "quarantined"  # it ended those that worked on it
    CONTEXT = "context"  # gives context and gets no answer

    __str__ = str.__str__


@dataclass(frozen=True)
class Row:
    """A tile and what became of it.

    Attributes:
        id: its number in the manifest.
        tile: as its header describes it.
        state: of it.
        attempts: how often it was begun.
        error: why it is failed or quarantined, or why it is tried again.
        worker: who labelled it.
        basis: digest of all that its answer depends on.
        lacking: names of neighbours that could not give context.
        output, output_bytes, output_sha256, output_version: the answer, as in ``TileResult``.
        labelled_points, context_points: points labelled, and those of neighbours that gave context.
        counts, reference, agreement, refined, warnings, timings_ms: as in ``TileResult``.
        seconds: from its beginning to its end.
        updated: when this row was written, in seconds since 1970.
    """

    id: int
    tile: Tile
    state: State
    attempts: int = 0
    error: str = ""
    worker: str = ""
    basis: str = ""
    lacking: list[str] = field(default_factory=list)
    output: str = ""
    output_bytes: int = 0
    output_sha256: str = ""
    output_version: str = ""
    labelled_points: int = 0
    context_points: int = 0
    counts: dict[int, int] = field(default_factory=dict)
    reference: str = ""
    agreement: list[tuple[int, int, int]] = field(default_factory=list)
    refined: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    timings_ms: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    updated: float = 0.0


def tile_of(found: sqlite3.Row) -> Tile:
    """The tile in a row of the table ``tile`` of the manifest."""
    bounds: Bounds | None = None
    if found["min_x"] is not None:
        bounds = tuple(found[name] for name in PLACED)
    metres = None if found["metres_xy"] is None else (found["metres_xy"], found["metres_z"])
    return Tile(
        name=found["name"],
        path=found["path"],
        format=found["format"],
        num_bytes=found["num_bytes"],
        version=found["version"],
        num_points=found["num_points"],
        bounds=bounds,
        crs=found["crs"],
        metres_per_unit=metres,
        is_context=bool(found["is_context"]),
        error=found["header_error"],
    )


def row_of(found: sqlite3.Row) -> Row:
    """A row of the table ``tile`` of the manifest."""
    return Row(
        id=found["id"],
        tile=tile_of(found),
        state=State(found["state"]),
        attempts=found["attempts"],
        error=found["error"],
        worker=found["worker"],
        basis=found["basis"],
        lacking=orjson.loads(found["lacking"]),
        output=found["output"],
        output_bytes=found["output_bytes"],
        output_sha256=found["output_sha256"],
        output_version=found["output_version"],
        labelled_points=found["labelled_points"],
        context_points=found["context_points"],
        counts={int(label): count for label, count in orjson.loads(found["counts"]).items()},
        reference=found["reference"],
        agreement=[tuple(each) for each in orjson.loads(found["agreement"])],
        refined=orjson.loads(found["refined"]),
        warnings=orjson.loads(found["warnings"]),
        timings_ms=orjson.loads(found["timings_ms"]),
        seconds=found["seconds"],
        updated=found["updated"],
    )
