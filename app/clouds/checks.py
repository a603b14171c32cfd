"""Checks that every reader shares: how many points and columns, and whether the Cloud it made is well formed."""

from collections.abc import Iterable

import numpy as np

from app.clouds.cloud import Cloud
from app.clouds.rows import LARGE_BLOCK_ROWS, LEAST_NUMBERS, by_blocks
from app.errors import BadCloud, TooLarge, shortened

MAX_COLUMNS, MAX_NAME_CHARS = 4096, 256
MAX_WARNINGS, WARNING_CHARS = 32, 500
MAX_COORDINATE = 1e13  # where float64 goes in steps of two thousandths


def check_num_points(num_points: int, max_points: int | None, what: str = "The file") -> None:
    """Raise BadCloud for no points at all, TooLarge for more than ``max_points``; call it before allocating."""
    if num_points < 0:
        raise BadCloud(f"{what} states a negative number of points ({num_points}).")
    if num_points == 0:
        raise BadCloud(f"{what} holds no points.")
    if max_points is not None and num_points > max_points:
        raise TooLarge(
            f"{what} holds {num_points:,} points; at most {max_points:,} are taken. Cut it into tiles or thin it out."
        )


def check_num_columns(num_columns: int) -> None:
    """Raise BadCloud for more columns than are read; call it before allocating."""
    if num_columns > MAX_COLUMNS:
        raise BadCloud(
            f"The file has {num_columns:,} columns; at most {MAX_COLUMNS:,} are read. Send those that the model needs."
        )


def check_names(names: Iterable[str]) -> None:
    """Raise BadCloud if there are too many columns, or if names are too long."""
    names = list(names)
    check_num_columns(len(names))
    longest = max(names, key=len, default="")
    if len(longest) > MAX_NAME_CHARS:
        raise BadCloud(
            f"A column has a name of {len(longest):,} characters, '{longest[:40]}…'; at most {MAX_NAME_CHARS} are read."
        )


def bounded(warnings: Iterable[str]) -> list[str]:
    """``warnings`` for an answer: each once and of a readable length; what is over ``MAX_WARNINGS`` is counted."""
    unique = list(dict.fromkeys(shortened(warning, WARNING_CHARS) for warning in warnings))
    if len(unique) <= MAX_WARNINGS:
        return unique
    return [*unique[: MAX_WARNINGS - 1], f"{len(unique) - MAX_WARNINGS + 1} more warnings are left out."]


def check_cloud(cloud: Cloud) -> Cloud:
    """Return ``cloud`` if it keeps to what ``Cloud`` promises, else raise TypeError: the reader has a bug.

    Raises BadCloud for columns that are too many or have names that are too long, and for coordinates of no place.
    """
    check_names(cloud.columns)
    check_names(cloud.extra)
    num_points = len(cloud.xyz)
    _check("xyz", cloud.xyz, (num_points, 3), np.float64)
    for name, array, shape, dtype in (
        ("rgb", cloud.rgb, (num_points, 3), np.uint8),
        ("intensity", cloud.intensity, (num_points,), np.float32),
        ("normals", cloud.normals, (num_points, 3), np.float32),
    ):
        if array is not None:
            _check(name, array, shape, dtype)
    for name, array in cloud.extra.items():
        _check(f"extra[{name!r}]", array, (num_points,), None)
    _check_places(cloud.xyz)
    return cloud


def _check_places(xyz: np.ndarray) -> None:
    """Raise BadCloud if more than half of the points with finite coordinates lie beyond ``MAX_COORDINATE``."""
    num_finite, num_far, greatest = 0, 0, 0.0
    found = by_blocks(len(xyz), lambda block: _places(xyz[block]), LARGE_BLOCK_ROWS, LEAST_NUMBERS)
    for block_finite, block_far, block_greatest in found:
        num_finite, num_far = num_finite + block_finite, num_far + block_far
        greatest = max(greatest, block_greatest)
    if 2 * num_far > num_finite:
        raise BadCloud(
            f"{num_far:,} of {num_finite:,} points have coordinates beyond {MAX_COORDINATE:g} (up to {greatest:.3g}), "
            "where float64 does not tell millimetres apart: those are no places. Check the columns that are read as "
            "x, y and z, the byte order, and scale and offset of the file."
        )


def _places(xyz: np.ndarray) -> tuple[int, int, float]:
    """Of coordinates (M, 3): the points with finite ones, those of them that are too far, and the greatest distance."""
    if xyz.min() >= -MAX_COORDINATE and xyz.max() <= MAX_COORDINATE:  # false if one is not a number
        return len(xyz), 0, 0.0
    finite = np.isfinite(xyz).all(axis=1)
    far = np.abs(xyz[finite]).max(axis=1, initial=0) > MAX_COORDINATE
    return int(finite.sum()), int(far.sum()), float(np.abs(xyz[finite]).max(initial=0))


def _check(name: str, array: np.ndarray, shape: tuple[int, ...], dtype: type | None) -> None:
    if array.shape != shape:
        raise TypeError(f"Cloud.{name} has shape {array.shape}, not {shape}")
    if dtype is None and array.dtype.kind not in "iuf":
        raise TypeError(f"Cloud.{name} is not numeric: {array.dtype}")
    if dtype is not None and array.dtype != dtype:
        raise TypeError(f"Cloud.{name} is {array.dtype}, not {np.dtype(dtype)}")
    if not array.dtype.isnative or not array.flags.c_contiguous:
        raise TypeError(f"Cloud.{name} is not a contiguous array of native byte order")
