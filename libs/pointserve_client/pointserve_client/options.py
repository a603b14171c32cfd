"""Options of a prediction. Printed from the service's declaration by ``make docs``: edit that one."""

from collections.abc import Sequence
from typing import Literal, TypedDict

Mode = Literal[
    "fast",
    "exact",
    "vote",
]
Format = Literal[
    "json",
    "las",
    "laz",
    "ply",
    "pcd",
    "e57",
    "npz",
    "npy",
    "pth",
    "ptx",
    "text",
    "bin",
    "kitti",
    "nuscenes",
    "xyzrgb",
]
Output = Literal[
    "json",
    "las",
    "laz",
    "copc",
    "ply",
    "pcd",
    "npz",
    "npy",
    "safetensors",
    "csv",
    "view",
]
Field = Literal[
    "confidence",
    "probabilities",
    "entropy",
    "energy",
    "agreement",
    "instances",
    "features",
    "features_rgb",
    "height_above_ground",
]
Ground = Literal[
    "model",
    "file",
]
PreserveFlag = Literal[
    "withheld",
    "synthetic",
    "overlap",
    "key_point",
]


class Options(TypedDict, total=False):
    """What may be asked of a prediction; None leaves an option out, and the server decides."""

    model: str | None
    """Name of the model; by default POINTSERVE_DEFAULT_MODEL, or else the first one. a+b averages the probabilities of
    models with the same classes."""

    mode: Mode | None
    """fast: one pass, a voxel's label for its points; exact: Pointcept's tester, every view and point; vote: the mean
    of several passes, each over another view and grid."""

    max_passes: int | None
    """Most passes of modes exact and vote; by default, and of a server at most, POINTSERVE_MAX_PASSES."""

    format: Format | None
    """Format of the file, if its bytes and its name do not show it."""

    columns: str | Sequence[str] | None
    """Names of the columns of a table or a sweep, comma-separated; or pairs channel:column, such as
    intensity:amplitude,nx:_ in which _ leaves a channel out."""

    crs: str | None
    """Coordinate system of the file, whatever it says itself: an EPSG code such as EPSG:2263 or EPSG:6434+6360, a name,
    WKT, PROJJSON or a PROJ string."""

    units: str | None
    """Units of the coordinates, whatever the file says: m, ft, us-ft, deg and others, or how many metres one is; one
    for all axes or three, as ft,ft,m."""

    fields: str | Sequence[Field] | None
    """Values wanted for every point beside its label, comma-separated."""

    seed: int | None
    """Seed of any sampling; equal requests get equal answers."""

    timeout_s: float | None
    """Seconds to the answer, else 504; the header X-Request-Timeout may state it, too."""

    condition: str | None
    """Dataset whose classes are wanted, of a model trained on several."""

    smooth: int | None
    """Probabilities become the mean of those of so many nearest voxels."""

    smooth_radius_m: float | None
    """The same of voxels within so many metres, of the 64 or smooth nearest."""

    sieve: int | None
    """Connected pieces of a class of fewer points take the class around them."""

    sieve_m2: float | None
    """The same of pieces that cover less, in square metres seen from above."""

    min_confidence: float | None
    """Points whose class has a lower probability become unclassified."""

    max_entropy: float | None
    """Points whose probabilities have a higher entropy, in nats, become unclassified."""

    noise: bool | None
    """Points that hang together with nothing become low (7) or high noise (18)."""

    vegetation_heights: str | Sequence[float] | None
    """Heights above ground, in metres, from which vegetation is medium (4) and high (5) instead of low (3), such as
    0.5,2; or model for those that the model states."""

    ground: Ground | None
    """What heights are above: points that the model calls ground (2), or those that the file does."""

    classes: str | Sequence[str] | None
    """ASPRS codes of classes of the model, by name or id, comma-separated, such as building:6,wire:14."""

    preserve: str | Sequence[int] | None
    """Codes of the file, comma-separated: points that have one keep it."""

    only: str | Sequence[int] | None
    """Codes of the file, comma-separated: points that have none of them keep their class."""

    preserve_flags: str | Sequence[PreserveFlag] | None
    """Flags of LAS: points that have one of them keep the file's class."""

    within: str | None
    """Points outside keep the file's class: xmin,ymin,xmax,ymax, or a GeoJSON Polygon or MultiPolygon, in the
    coordinate system of the file."""

    classification_to: str | None
    """Name of the column that gets the labels in a file of points; the file's own classification stays as it is."""

    filename: str | None
    """Name of the file, if the body does not state one."""
