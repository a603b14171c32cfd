"""Those who decode, label and write the tiles of a survey, as the driver sees them.

The driver is one thread. What it asks comes back as futures, which end in a ``Problem`` if it cannot be done.
"""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from app.clouds.cloud import Bounds
from app.errors import Problem
from app.options import Options
from app.survey.tile import Tile


class WorkerLost(Problem):
    """A worker ended while it had a tile; nobody knows yet whether the tile did it."""

    status = 503
    title = "Worker lost"


@dataclass(frozen=True)
class Model:
    """The model that labels a survey.

    Attributes:
        name: of its folder.
        digest: changes with its weights, its config, or the settings by which its answers change.
        classes: each as ``ClassInfo`` has it: id, name, color, asprs.
        columns: those of a file that it reads beside coordinates and channels.
        halo_m: metres around a place that its answer there depends on; None if its config does not tell.
    """

    name: str
    digest: str
    classes: list[dict[str, Any]]
    columns: tuple[str, ...] = ()
    halo_m: float | None = None


@dataclass(frozen=True)
class Capacity:
    """What workers can take at the moment.

    Attributes:
        decodes: tiles decoded at once.
        labels: tiles labelled at once, with those that wait for a device or are being written.
        points: of tiles labelled at once; a tile of more goes alone.
        kept_bytes: of decoded tiles and rings that nobody works on yet.
        handles: decoded tiles and rings that are open, each of which may be two open files.
    """

    decodes: int
    labels: int
    points: int
    kept_bytes: int
    handles: int


class Ring(Protocol):
    """Handle of the points along the border of a decoded tile, its neighbours' context. The driver's to close."""

    @property
    def num_points(self) -> int:
        """Points of it; 0 is possible."""

    @property
    def num_bytes(self) -> int:
        """What it takes in memory."""

    def close(self) -> None:
        """Give the memory back; may be called twice."""


class DecodedTile(Protocol):
    """Handle of a decoded tile: all its points, and its ring, which has an owner of its own. The driver's to close."""

    @property
    def num_points(self) -> int:
        """Points of the tile."""

    @property
    def num_bytes(self) -> int:
        """What the tile takes in memory, without its ring."""

    @property
    def ring(self) -> Ring | None:
        """Its points along the border; None if none were asked for."""

    def close(self) -> None:
        """Give the memory of the tile back, not that of the ring; may be called twice."""


@dataclass(frozen=True)
class Task:
    """How a tile is labelled and where its answer goes.

    Attributes:
        output: final path of the answer, local or as fsspec opens it; it appears there whole.
        partial: folder for files that are not whole yet, on the file system of an output that is local.
        format: of the answer, a key of ``app.clouds.catalog.WRITERS``.
        options: of the prediction.
        buffer_m: metres around the tile within which points of neighbours give context.
        frame: box of the survey, in the units of the tile, by which grids are laid out (``Cloud.frame``); None for that
            of the tile.
        is_passing: the answer is read at once and need not outlive a power cut.
    """

    output: str
    partial: str
    format: str
    options: Options
    buffer_m: float = 0.0
    frame: Bounds | None = None
    is_passing: bool = False


@dataclass(frozen=True)
class TileResult:
    """What became of a tile that was labelled; its answer is in its place.

    Attributes:
        num_points: of the tile, without context.
        num_context: points of neighbours that gave context.
        output: path of the answer.
        num_bytes, sha256: of the answer.
        counts: points by class id; -1 or another id of no class for points that could not be used.
        version: of the answer on an object store, as ``Stat`` has it; '' for one of this machine.
        reference: column of the file that classifies its points, '' if none does.
        agreement: (code in that column, class id predicted, points), for every pair that occurs.
        refined: points that each step of refinement changed, by its name, in their order.
        warnings: one sentence each.
        timings_ms: milliseconds by stage.
        worker: name of the device or node that labelled it.
    """

    num_points: int
    output: str
    num_bytes: int
    sha256: str
    counts: dict[int, int]
    version: str = ""
    num_context: int = 0
    reference: str = ""
    agreement: list[tuple[int, int, int]] = field(default_factory=list)
    refined: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    timings_ms: dict[str, float] = field(default_factory=dict)
    worker: str = ""


class Workers(Protocol):
    """Workers of one driver. What is asked begins when there is room; ``capacity`` says how much to ask for."""

    @property
    def capacity(self) -> Capacity:
        """What they can take; may change while they work."""

    def model(self, options: Options) -> Model:
        """The model that ``options`` ask for; waits until it is loaded. Raises Problem if there is none."""

    def decode(self, tile: Tile, ring_m: float, options: Options) -> "Future[DecodedTile]":
        """Read a tile, and cut the ring of its points within ``ring_m`` of the border, 0 for none.

        ``options`` say how to read it, what is kept of it, and which model reads it. Ends in BadCloud also if the file
        is not of ``tile.version`` any more.
        """

    def label(self, tile: Tile, cloud: DecodedTile, rings: Sequence[Ring], task: Task) -> "Future[TileResult]":
        """Label a tile with ``rings`` around it, in order of their tiles' names, and put the answer into its place.

        Cloud and rings stay the driver's, which keeps them until the future ends. Ends in WorkerLost or Quarantined if
        workers were lost over it, in Busy or NotReady if it should be asked again, in NoRoom if the disk is full, in
        BadCloud as above.
        """

    def stop(self) -> None:
        """End all work; what is under way ends in NotReady or is cancelled, and leaves nothing under a final name."""
