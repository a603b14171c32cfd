"""Named columns of numbers to a Cloud: what the names mean, and what columns without names are taken for."""

from collections.abc import Iterable, Sequence

import numpy as np

from app.clouds.cloud import Cloud
from app.clouds.colour import rgb8
from app.errors import BadCloud, BadRequest

XYZ, RGB, NORMAL = ("x", "y", "z"), ("red", "green", "blue"), ("nx", "ny", "nz")
SKIP = "_"

ALIASES = {
    **{name: (name,) for name in XYZ},
    "red": ("red", "r", "diffuse_red"),
    "green": ("green", "g", "diffuse_green"),
    "blue": ("blue", "b", "diffuse_blue"),
    "intensity": ("intensity", "strength", "reflectance", "reflectivity", "remission", "i"),
    "nx": ("nx", "normal_x"),
    "ny": ("ny", "normal_y"),
    "nz": ("nz", "normal_z"),
    "classification": ("classification", "class"),
    "return_number": ("return_number",),
    "number_of_returns": ("number_of_returns",),
    "gps_time": ("gps_time", "time", "timestamp"),
    "ring": ("ring",),
    "segment": ("segment",),
    "instance": ("instance",),
    "label": ("label",),
}
VECTORS = {
    **dict.fromkeys(("coord", "coords", "xyz", "points", "position", "positions"), XYZ),
    **dict.fromkeys(("color", "colors", "colour", "colours", "rgb"), RGB),
    **dict.fromkeys(("normal", "normals"), NORMAL),
}
NAMES = tuple(ALIASES)

Column = tuple[str, np.ndarray]


def _key(name: str) -> str:
    return name.strip().lower().removeprefix("scalar_").replace("_", "").replace(" ", "")


_CANONICAL = {_key(alias): name for name, aliases in ALIASES.items() for alias in aliases}


def canonical(name: str) -> str:
    """The name in ``NAMES`` that ``name`` stands for in any case and with CloudCompare's ``scalar_``, or ``name``."""
    return _CANONICAL.get(_key(name), name)


def check_columns(columns: Sequence[str]) -> tuple[str, ...]:
    """The canonical names of a request's ``columns``; BadRequest for an unknown or repeated one or without x, y, z."""
    names = tuple(name if name == SKIP else canonical(name) for name in columns)
    for name in names:
        if name != SKIP and name not in NAMES:
            raise BadRequest(f"columns= names '{name}'; known are {', '.join(NAMES)}, and {SKIP} to skip a column.")
        if name != SKIP and names.count(name) > 1:
            raise BadRequest(f"columns= names '{name}' more than once; use {SKIP} to skip a column.")
    if not set(XYZ) <= set(names):
        raise BadRequest(f"columns= must name x, y and z; it names {', '.join(names) or 'nothing'}.")
    return names


def split_vectors(name: str, array: np.ndarray) -> list[Column]:
    """``array`` (N,) or (N, C) as columns: x y z and so on for a name in ``VECTORS``, else name_0, name_1 …"""
    if array.ndim == 1:
        return [(name, array)]
    if array.shape[1] == 1:
        return [(name, array[:, 0])]
    names: tuple[str, ...] = VECTORS.get(name.lower(), ())
    if len(names) != array.shape[1]:
        names = tuple(f"{name}_{i}" for i in range(array.shape[1]))
    return [(part, array[:, i]) for i, part in enumerate(names)]


@np.errstate(over="ignore", invalid="ignore")
def cloud_from_columns(
    format: str, columns: Iterable[Column], *, intensity_scale: float | None = None, warnings: Sequence[str] = ()
) -> Cloud:
    """Build a Cloud from columns (N,) of one length; any numeric dtype, byte order and stride.

    The first column of a meaning gets it; columns without a meaning, or repeated, go to ``extra`` by their own name.
    ``intensity_scale`` where the caller knows it, else 255 for bytes and for 16-bit integers the least of 8, 12 or 16
    bits that holds them. Normals and intensities beyond float32 become inf.
    """
    known: dict[str, Column] = {}
    extra: dict[str, np.ndarray] = {}
    names = []
    for name, values in columns:
        if name == SKIP:
            continue
        if values.dtype.kind not in "biuf":
            raise BadCloud(f"Column '{name}' holds {values.dtype}, not numbers.")
        names.append(name)
        target = canonical(name)
        if target in NAMES and target not in known:
            known[target] = name, values
        else:
            extra.setdefault(name, values)
    xyz = _take(known, XYZ)
    if xyz is None:
        found = ", ".join(names) or "none"
        raise BadCloud(
            f"No columns x, y and z; found: {found:.200}. Name them in the file, or with columns= where it can."
        )
    cloud = Cloud(np.stack(xyz, axis=1).astype(np.float64, copy=False), format, warnings=list(warnings))
    rgb = _take(known, RGB)
    if rgb is not None:
        cloud.rgb, assumed = rgb8(*rgb)
        cloud.warnings += assumed
    normals = _take(known, NORMAL)
    if normals is not None:
        cloud.normals = np.stack(normals, axis=1).astype(np.float32, copy=False)
    if "intensity" in known:
        _, intensity = known.pop("intensity")
        cloud.intensity = np.ascontiguousarray(intensity, np.float32)
        cloud.intensity_scale = intensity_scale or _full_scale(intensity)
    for meaning, (name, values) in known.items():
        extra.setdefault(name if meaning in RGB + NORMAL else meaning, values)
    cloud.extra = {name: _plain(values) for name, values in extra.items()}
    return cloud


def _take(known: dict[str, Column], names: Sequence[str]) -> list[np.ndarray] | None:
    return [known.pop(name)[1] for name in names] if set(names) <= set(known) else None


def _full_scale(intensity: np.ndarray) -> float | None:
    if intensity.dtype == np.uint8:
        return 255.0
    if intensity.dtype.newbyteorder("=") == np.uint16:
        return next(scale for scale in (255.0, 4095.0, 65535.0) if intensity.max(initial=0) <= scale)
    return None


def _plain(values: np.ndarray) -> np.ndarray:
    dtype = np.dtype(np.uint8) if values.dtype.kind == "b" else values.dtype.newbyteorder("=")
    return np.ascontiguousarray(values, dtype)


def assumed_names(table: np.ndarray) -> tuple[tuple[str, ...], list[str]]:
    """Names for the columns of ``table`` (N, C) that states none, and a warning unless C is 3.

    3: x y z. 4: and intensity. 6: and red green blue where the three are whole numbers from 0 to 255 or all within
    0 to 1, nx ny nz where each row of them has length 1 or 0. 9: colours, then normals. Anything else: BadCloud.
    """
    count = table.shape[1]
    names: tuple[str, ...] = ()
    if count == 3:
        return XYZ, []
    if count == 4:
        names = (*XYZ, "intensity")
    elif count == 6 and _looks_unit(table[:, 3:]):
        names = XYZ + NORMAL
    elif count == 6 and _looks_colour(table[:, 3:]):
        names = XYZ + RGB
    elif count == 9 and _looks_colour(table[:, 3:6]) and _looks_unit(table[:, 6:]):
        names = XYZ + RGB + NORMAL
    if not names:
        raise BadCloud(
            f"{count} columns without names; say what they are, for example columns=x,y,z,intensity,"
            f"{SKIP} where {SKIP} skips a column. Known names: {', '.join(NAMES)}."
        )
    return names, [f"The columns have no names and were read as {' '.join(names)}; columns= says otherwise."]


def _looks_colour(values: np.ndarray) -> bool:
    lowest, highest = values.min(initial=0), values.max(initial=0)
    return bool(lowest >= 0 and (highest <= 1 or (highest <= 255 and np.all(values == np.floor(values)))))


def _looks_unit(values: np.ndarray) -> bool:
    with np.errstate(over="ignore"):
        length = np.linalg.norm(values.astype(np.float32), axis=1)
    given = length > 1e-6
    return bool(given.any() and np.all(np.abs(length[given] - 1) < 0.02))
