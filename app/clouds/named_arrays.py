"""Clouds from arrays of N rows by name, as Pointcept stores a sample, whatever container they came in."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np

from app.clouds.checks import check_num_points
from app.clouds.cloud import UNUSED, Cloud
from app.clouds.columns import (
    SKIP,
    VECTORS,
    XYZ,
    Column,
    Wanted,
    canonical,
    cloud_from_columns,
    is_kept,
    split_vectors,
)
from app.clouds.needs import BUFFER, Keep, Needs, of_table
from app.errors import BadCloud, BadRequest

COORDINATES = tuple(name for name, meaning in VECTORS.items() if meaning == XYZ)


@dataclass(frozen=True)
class Stored:
    """An array that is still in its container: ``load`` gives it."""

    shape: tuple[int, ...]
    dtype: np.dtype
    load: Callable[[], np.ndarray]

    @property
    def num_bytes(self) -> int:
        """Bytes that the numbers take."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def is_table(self) -> bool:
        """Whether it is rows of numbers."""
        return self.dtype.kind in "biuf" and len(self.shape) in (1, 2)


def cloud_from_arrays(
    format: str,
    arrays: Mapping[str, Stored],
    wanted: Wanted | None,
    max_points: int | None,
    what: str,
    keep: Collection[str] | None = None,
) -> Cloud:
    """The cloud of arrays called coord|xyz|points, color|rgb, normal, strength|intensity and others.

    Others of N rows go to ``extra``, the rest is left out with a warning. ``strength`` without values above 1 has the
    scale 1. What ``is_read`` denies is not loaded.

    ``what`` is the container, for messages. Raises BadCloud without coordinates or if an array that has a meaning
    has other rows than they, BadRequest if ``wanted`` names columns in order, TooLarge.
    """
    if isinstance(wanted, tuple):
        raise BadRequest(
            f"columns= does not apply to {what} of several arrays: their names tell what they are. Leave it out, "
            "or say which of them feeds what: columns=intensity:amplitude."
        )
    num_points = _num_points(arrays, wanted or {}, what)
    check_num_points(num_points, max_points, what.capitalize())
    columns: list[Column] = []
    names: list[str] = []
    warnings: list[str] = []
    for name, array in arrays.items():
        if array.is_table and array.shape[0] == num_points:
            names += column_names(name, array)
            if is_read(name, array, wanted, keep):
                columns += split_vectors(name, array.load())
        elif name.lower() in VECTORS or canonical(name) == "intensity":
            held = (
                "pickled objects, which are never opened" if array.dtype.hasobject else f"{array.dtype} {array.shape}"
            )
            raise BadCloud(f"Array '{name:.60}' holds {held}; expected numbers for {num_points:,} points.")
        else:
            warnings.append(f"Array '{name:.60}' has no number for each point and was left out.")
    strength = next((values for name, values in columns if name.lower() == "strength"), None)
    scale = 1.0 if strength is not None and strength.max(initial=0) <= 1 else None
    cloud = cloud_from_columns(format, columns, wanted=wanted, intensity_scale=scale, warnings=warnings)
    unread = {
        name: [canonical(name)] for name in names if canonical(name) in UNUSED and canonical(name) not in (wanted or {})
    }
    cloud.columns = {name: cloud.columns.get(name, unread.get(name, [])) for name in names if name != SKIP}
    return cloud


def is_read(name: str, array: Stored, wanted: Wanted | None = None, keep: Collection[str] | None = None) -> bool:
    """Whether an array has columns with a meaning, that ``wanted`` names, or that are among those to ``keep``."""
    if keep is None:
        return True
    named = {*keep, *(wanted.values() if isinstance(wanted, dict) else ())}
    return any(part in named or is_kept(canonical(part), keep) for part in column_names(name, array))


def _num_points(arrays: Mapping[str, Stored], wanted: dict[str, str], what: str) -> int:
    """Rows of the array of coordinates, of that of x alone, or of the one that is to feed x."""
    feeding = wanted.get("x", "")
    for name, array in arrays.items():
        if feeding in column_names(name, array):
            return array.shape[0]
        if not feeding and name.lower() in COORDINATES:
            if len(array.shape) != 2 or array.shape[1] != 3:
                raise BadCloud(f"Array '{name:.60}' has shape {array.shape}; expected (N, 3).")
            return array.shape[0]
    apart = next((array for name, array in arrays.items() if canonical(name) == "x" and len(array.shape) == 1), None)
    if apart is not None and not feeding:
        return apart.shape[0]
    found = [part for name, array in arrays.items() for part in column_names(name, array)]
    raise BadCloud(
        f"None of the arrays in {what} is called {', '.join(COORDINATES)}; found: {', '.join(arrays)[:200]}. "
        "Say which they are: columns=x:…,y:…,z:….",
        columns=found,
    )


def column_names(name: str, array: Stored) -> list[str]:
    """Names of the columns that the array ``name`` becomes; none if it is no table."""
    if not array.is_table:
        return []
    return [part for part, _ in split_vectors(name, np.empty((0, *array.shape[1:])))]


def needs_of(arrays: Mapping[str, Stored], wanted: Wanted | None, keep: Keep) -> Needs:
    """What memory ``cloud_from_arrays`` will take."""
    if len(arrays) > 1:
        arrays = {name: array for name, array in arrays.items() if is_read(name, array, wanted, keep)}
    num_points = max(array.shape[0] for array in arrays.values() if array.shape)
    row_bytes = sum(array.num_bytes for array in arrays.values()) // num_points
    names = [name for array in arrays.values() for name in array.dtype.names or ()]
    width = len(names) or sum(math.prod(array.shape[1:]) for array in arrays.values())
    return of_table(num_points, width, row_bytes, keep, row_bytes * BUFFER)
