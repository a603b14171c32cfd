"""Named columns of numbers to a Cloud: what the names mean."""

from collections.abc import Collection, Iterable, Sequence

import numpy as np

from app.clouds.checks import check_names, check_num_columns
from app.clouds.cloud import UNUSED, Cloud
from app.clouds.color import packed_bits, rgb8, unpacked
from app.clouds.records import free_name
from app.clouds.rows import contiguous, joined
from app.errors import BadCloud, BadRequest, some_of

XYZ, RGB, NORMAL = ("x", "y", "z"), ("red", "green", "blue"), ("nx", "ny", "nz")
SKIP = "_"
PACKED = ("rgb", "rgba")  # columns whose numbers are colors of three channels

ALIASES = {
    **{name: (name, f"points:{axis}") for axis, name in enumerate(XYZ)},
    "red": ("red", "r", "diffuse_red", "rf"),
    "green": ("green", "g", "diffuse_green", "gf"),
    "blue": ("blue", "b", "diffuse_blue", "bf"),
    "intensity": ("intensity", "strength", "reflectance", "reflectivity", "remission", "i"),
    "nx": ("nx", "normal_x"),
    "ny": ("ny", "normal_y"),
    "nz": ("nz", "normal_z"),
    "classification": ("classification", "class"),
    "return_number": ("return_number",),
    "number_of_returns": ("number_of_returns",),
    "gps_time": ("gps_time", "time", "timestamp"),
    "ring": ("ring",),
    "segment": ("segment", "segment20", "semantic_gt", "semantic_gt20"),
    "instance": ("instance", "instance_gt"),
    "label": ("label",),
}
VECTORS = {
    **dict.fromkeys(("coord", "coords", "xyz", "points", "position", "positions"), XYZ),
    **dict.fromkeys(("color", "colors", "colour", "colours", "rgb"), RGB),
    **dict.fromkeys(("normal", "normals"), NORMAL),
}
NAMES = tuple(ALIASES)
OWN = set(NAMES) - {*XYZ, *RGB, *NORMAL, "intensity"}
STRENGTHS = ALIASES["intensity"]  # how configs call the feature that intensity becomes

Column = tuple[str, np.ndarray]
Wanted = tuple[str, ...] | dict[str, str]
"""What a request says of the columns: names of all, in order, or the file's column by meaning (``SKIP`` for none)."""


def key(name: str) -> str:
    """``name`` as names are compared: in any case, without blanks, underscores and CloudCompare's ``scalar_``."""
    return name.strip().lower().removeprefix("scalar_").replace("_", "").replace(" ", "")


_CANONICAL = {key(alias): name for name, aliases in ALIASES.items() for alias in aliases}


def canonical(name: str) -> str:
    """The name in ``NAMES`` that ``name`` stands for in any case and with CloudCompare's ``scalar_``, or ``name``."""
    return _CANONICAL.get(key(name), name)


def is_kept(name: str, keep: Collection[str] | None) -> bool:
    """Whether the column ``name`` of ``Cloud.extra`` is to be kept.

    It is if ``keep`` is None or holds it, or if it has a meaning that is used without being asked for.
    """
    return keep is None or name in keep or (name in NAMES and name not in UNUSED)


def numbered(count: int) -> tuple[str, ...]:
    """Names for columns that have none: their places, from 1. Raises BadCloud for too many."""
    check_num_columns(count)
    return tuple(str(place) for place in range(1, count + 1))


def split_vectors(name: str, array: np.ndarray) -> list[Column]:
    """``array`` (N,) or (N, C) as columns: x y z and so on for a name in ``VECTORS``, else name_0, name_1 …

    Raises BadCloud for too many.
    """
    if array.ndim == 1:
        return [(name, array)]
    if array.shape[1] == 1:
        return [(name, array[:, 0])]
    check_num_columns(array.shape[1])
    names: tuple[str, ...] = VECTORS.get(name.lower(), ())
    if len(names) != array.shape[1]:
        names = tuple(f"{name}_{i}" for i in range(array.shape[1]))
    return [(part, array[:, i]) for i, part in enumerate(names)]


@np.errstate(over="ignore", invalid="ignore")
def cloud_from_columns(
    format: str,
    columns: Iterable[Column],
    *,
    wanted: Wanted | None = None,
    intensity_scale: float | None = None,
    warnings: Sequence[str] = (),
) -> Cloud:
    """Build a Cloud from columns (N,) of one length; any numeric dtype, byte order and stride.

    ``wanted`` pairs decide what feeds their meanings. The first column of another meaning gets it; columns without a
    meaning go to ``extra`` by their own name, and a name that comes again by another one, with a warning.
    ``intensity_scale`` is that of a column called intensity, if the caller knows it, else 255 for bytes and for
    16-bit integers the least of 8, 12 or 16 bits that holds them.
    Normals and intensities beyond float32 become inf. BadRequest if ``wanted`` names a column that is not there.
    """
    given, repeated = _renamed((name, values) for name, values in columns if name != SKIP)
    given = _unpacked(given, wanted.values() if isinstance(wanted, dict) else ())
    names = [name for name, _ in given]
    check_names(names)
    for name, values in given:
        if values.dtype.kind not in "biuf":
            raise BadCloud(f"Column '{name}' holds {values.dtype!s:.60}, not numbers.")
    known, extra = _sorted(given, wanted if isinstance(wanted, dict) else {})
    name_of = {meaning: name for meaning, (name, _) in known.items()}
    xyz = _take(known, XYZ)
    if xyz is None:
        raise BadCloud(
            f"No columns x, y and z; found: {', '.join(names) or 'none':.200}. Say which: columns=x:…,y:…,z:….",
            columns=names,
        )
    cloud = Cloud(joined(xyz, np.float64), format, warnings=[*warnings, *repeated])
    rgb = _take(known, RGB)
    if rgb is not None:
        cloud.rgb, assumed = rgb8(*rgb)
        cloud.warnings += assumed
    normals = _take(known, NORMAL)
    if normals is not None:
        cloud.normals = joined(normals, np.float32)
    if "intensity" in known:
        name, intensity = known.pop("intensity")
        cloud.intensity = contiguous(intensity, np.float32)
        stated = intensity_scale if canonical(name) == "intensity" else None
        cloud.intensity_scale = stated or full_scale(intensity)
        num_changed = _changed(intensity, cloud.intensity)
        if num_changed:
            extra.setdefault(name, intensity)
            cloud.warnings.append(
                f"Models read intensity as float32, which rounds {num_changed:,} values of {name:.60}; the column is "
                "kept as it is beside it."
            )
    halves = {meaning for meaning in known if meaning in RGB + NORMAL}
    for meaning, (name, values) in known.items():
        extra.setdefault(name if meaning in halves else meaning, values)
    cloud.extra = {name: _plain(values) for name, values in extra.items()}
    cloud.columns = {name: [] for name in names}
    for meaning, name in name_of.items():
        if meaning not in halves:
            cloud.columns[name].append(meaning)
    return cloud


def _renamed(columns: Iterable[Column]) -> tuple[list[Column], list[str]]:
    """``columns``, each under a name of its own, with a warning if several had one name."""
    given: dict[str, np.ndarray] = {}
    repeated = []
    for name, values in columns:
        own = name if name not in given else free_name(name, set(given))
        repeated += [name] if own != name else []
        given[own] = values
    warnings = [f"Columns named more than once; the first counts: {listed(repeated)}."] if repeated else []
    return list(given.items()), warnings


def _unpacked(given: list[Column], bound: Iterable[str]) -> list[Column]:
    """``given`` with red, green and blue from a column rgb or rgba, if there are no others and none of them is in
    ``bound``."""
    packed = next((name for name, values in given if key(name) in PACKED and values.dtype.kind in "iuf"), None)
    if packed is None or packed in bound or {canonical(name) for name, _ in given} & {*RGB}:
        return given
    colors = dict(given)[packed]
    bits = packed_bits(colors)
    if bits is None:
        return given
    channels = unpacked(bits, ~np.isfinite(colors))
    return [(name, values) for name, values in given if name != packed] + list(zip("rgb", channels, strict=True))


def listed(names: Sequence[str]) -> str:
    """``names`` in quotes for a sentence, each once, no more than can be read."""
    return some_of([f"'{name:.40}'" for name in dict.fromkeys(names)])


def missing_values(names: Sequence[str], table: np.ndarray) -> list[str]:
    """A sentence that counts the not-a-numbers in the columns ``names`` of ``table`` (N, C), if there are any."""
    counts = np.count_nonzero(np.isnan(table), axis=0) if table.dtype.kind == "f" else np.zeros(len(names), int)
    found = [f"{count:,} in {name:.40}" for name, count in zip(names, counts.tolist(), strict=True) if count]
    if not found:
        return []
    more = f" and in {len(found) - 8} more columns" if len(found) > 8 else ""
    return [f"Missing values: {', '.join(found[:8])}{more}."]


def bound(cloud: Cloud, wanted: Wanted | None) -> Cloud:
    """Apply the pairs of the option ``columns`` to a cloud of a format with fixed names, and set its ``columns``.

    Three of its other columns that have names of normals become its normals, if it has none.
    """
    columns: list[Column] = list(zip(XYZ, cloud.xyz.T, strict=True))
    if cloud.rgb is not None:
        columns += zip(RGB, cloud.rgb.T, strict=True)
    if cloud.intensity is not None:
        columns.append(("intensity", cloud.intensity))
    if cloud.normals is not None:
        columns += zip(NORMAL, cloud.normals.T, strict=True)
    fixed = {name for name, _ in columns}
    columns += [(name, values) for name, values in cloud.extra.items() if name not in fixed]
    own = {name: name for name in fixed} | {name: name for name in cloud.extra if name in OWN}
    normals = {canonical(name): name for name in cloud.extra if canonical(name) in NORMAL}
    if cloud.normals is None and set(normals) == set(NORMAL):
        own |= normals
    if not isinstance(wanted, dict) and (cloud.normals is not None or not set(NORMAL) <= set(own)):
        feeds = {name: meaning for meaning, name in own.items()}
        cloud.columns = {name: [feeds[name]] if name in feeds else [] for name, _ in columns}
        return cloud
    return cloud_from_columns(
        cloud.format,
        columns,
        wanted=dict.fromkeys(NAMES, SKIP) | own | (wanted if isinstance(wanted, dict) else {}),
        intensity_scale=cloud.intensity_scale,
        warnings=cloud.warnings,
    )


def _sorted(given: list[Column], bindings: dict[str, str]) -> tuple[dict[str, Column], dict[str, np.ndarray]]:
    """Name and values by meaning, and the other columns by name."""
    by_name = dict(reversed(given))
    missing = [name for name in bindings.values() if name != SKIP and name not in by_name]
    if missing:
        found = ", ".join(by_name) or "none"
        raise BadRequest(
            f"columns= names '{missing[0]:.60}', which the file does not have; it has {found:.300}.",
            columns=list(by_name),
        )
    known = {meaning: (name, by_name[name]) for meaning, name in bindings.items() if name != SKIP}
    used = set(bindings.values())
    proper = {canonical(name) for name in by_name if key(name) == key(canonical(name))}
    extra: dict[str, np.ndarray] = {}
    for name, values in given:
        target = canonical(name)
        is_alias = target in proper and key(name) != key(target)
        if target in NAMES and target not in known and target not in bindings and not is_alias:
            known[target] = name, values
        elif name not in used and not (target in bindings and name in NAMES):
            extra.setdefault(name, values)
    return known, extra


def _take(known: dict[str, Column], names: Sequence[str]) -> list[np.ndarray] | None:
    return [known.pop(name)[1] for name in names] if set(names) <= set(known) else None


def _changed(values: np.ndarray, rounded: np.ndarray) -> int:
    """How many whole numbers of ``values`` (N,) are others in ``rounded``, float32."""
    if values.dtype.kind not in "iu" or values.dtype.itemsize < 4:
        return 0
    return int(np.count_nonzero(rounded.astype(np.float64) != values.astype(np.float64)))


def full_scale(intensity: np.ndarray) -> float | None:
    """The value of ``intensity`` (N,) that means full scale, if its type tells: 255 for bytes, for 16-bit integers the
    least of 8, 12 or 16 bits that holds all; else None."""
    if intensity.dtype == np.uint8:
        return 255.0
    if intensity.dtype.newbyteorder("=") == np.uint16:
        return next(scale for scale in (255.0, 4095.0, 65535.0) if intensity.max(initial=0) <= scale)
    return None


def _plain(values: np.ndarray) -> np.ndarray:
    dtype = np.dtype(np.uint8) if values.dtype.kind == "b" else values.dtype.newbyteorder("=")
    return contiguous(values, dtype)
