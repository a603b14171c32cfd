"""A file of a survey before its points are read: where it is, then what its header says."""

from dataclasses import dataclass

from app.clouds.cloud import Bounds


@dataclass(frozen=True, slots=True)
class Stat:
    """Size of a file, and a text that changes when the file does."""

    num_bytes: int
    version: str


@dataclass(frozen=True, slots=True)
class Source:
    """A file of a survey before its header is read.

    ``name``, ``path`` and ``is_context`` are as in ``Tile``. ``known`` is what a store's listing said of it. ``error``
    says why it cannot be a tile.
    """

    name: str
    path: str
    is_context: bool = False
    known: Stat | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Tile:
    """A file of a survey, as its header describes it.

    Attributes:
        name: unique in the survey: the path below the source that it came from, numbered if two are equal.
        path: as fsspec opens it; of a local file the absolute path.
        format: a key of ``app.clouds.catalog.READERS``.
        num_bytes: size of the file.
        version: text that changes when the file does, of its size and time or of its ETag.
        num_points: None if no header tells, so that only decoding does.
        bounds: least x, y, z and greatest x, y, z in the units of the file; None if no header tells, or without points.
        crs: coordinate system as WKT, or as EPSG:<code>; '' if the file states none.
        metres_per_unit: of x and y, and of z, if the file states them.
        is_context: gives its neighbours context and gets no answer.
        error: why its header cannot be read; '' if it can. Such a tile has no points, bounds or coordinate system.
    """

    name: str
    path: str
    format: str
    num_bytes: int
    version: str
    num_points: int | None = None
    bounds: Bounds | None = None
    crs: str = ""
    metres_per_unit: tuple[float, float] | None = None
    is_context: bool = False
    error: str = ""
