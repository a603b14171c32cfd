"""Colors of any depth, or packed into one number, to 8 bits a channel."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from app.clouds.rows import by_blocks, empty, filler, joined
from app.errors import BadCloud

DEPTHS = {255: 8, 1023: 10, 4095: 12, 65535: 16}
NO_COLOR, OTHER_NAN = 0x7FC00000, 0xFFC00000  # bits of a float that is not a number, with either sign
MAX_FLOAT_OF_BITS = 1e-30  # floats whose bits are a color without alpha are less


def rgb8(red: np.ndarray, green: np.ndarray, blue: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Three columns (N,) of one scale as uint8 (N, 3), and what had to be assumed.

    Floats up to 1 mean 0 to 1. Anything else means 0 to 255, or 10, 12 or 16 bits if the largest value of the whole
    cloud is above 255. A point with a not-a-number is black. Raises BadCloud outside 0 to 65535.
    """
    channels = (red, green, blue)
    if all(channel.dtype == np.uint8 for channel in channels):
        return joined(channels, np.uint8), []
    rgb, found = _scaled(channels, 255)
    warnings = []
    if num_unset := sum(part.num_unset for part in found):
        warnings.append(f"Points with colors that are not finite: {num_unset:,}; taken as black.")
    lowest = min((part.lowest for part in found), default=0.0)
    highest = max((part.highest for part in found), default=0.0)
    if lowest < 0 or highest > 65535:
        raise BadCloud(
            f"Colors run from {lowest:g} to {highest:g}; expected 0 to 255, 0 to 1, or up to 16 bits. "
            "Name the columns with columns= if these are no colors."
        )
    if 0 < highest <= 1 and any(channel.dtype.kind == "f" for channel in channels):
        full_scale = 1
        warnings.append("Colors are at most 1 and were read as 0 to 1.")
    else:
        full_scale = next(limit for limit in DEPTHS if highest <= limit)
        if full_scale > 255:
            warnings.append(f"Colors reach {highest:g} and were read as {DEPTHS[full_scale]} bits a channel.")
    return (rgb if full_scale == 255 else _scaled(channels, full_scale)[0]), warnings


class _Found(NamedTuple):
    """Of a block of colors: the lowest and highest value, 0 among them, and the points that have none."""

    lowest: float
    highest: float
    num_unset: int


def _scaled(channels: Sequence[np.ndarray], full_scale: int) -> tuple[np.ndarray, list[_Found]]:
    """Channels (N,) from 0 to ``full_scale`` as uint8 (N, 3), black where one is not finite, and what each block of
    them holds; the colors are right if none is beyond ``full_scale``."""
    rgb = empty((len(channels[0]), 3), np.uint8)
    factor = np.float32(255 / full_scale)
    fill, block_rows = filler(channels)

    @np.errstate(over="ignore", invalid="ignore")
    def scale(block: slice) -> _Found:
        values = np.empty((block.stop - block.start, 3), np.float32)
        fill(values, block)
        lowest, highest = float(values.min()), float(values.max())
        unset = None
        if not (np.isfinite(lowest) and np.isfinite(highest)):
            unset = ~np.isfinite(values).all(axis=1)
            values[unset] = 0
            lowest, highest = float(values.min()), float(values.max())
        rgb[block] = np.rint(np.multiply(values, factor, out=values), out=values)
        return _Found(min(lowest, 0.0), max(highest, 0.0), 0 if unset is None else int(np.count_nonzero(unset)))

    return rgb, by_blocks(len(rgb), scale, block_rows)


def packed_bits(values: np.ndarray) -> np.ndarray | None:
    """uint32 (N,), colors 0xAARRGGBB, of numbers (N,) that are such a whole number each, or the float of these bits.

    ``NO_COLOR`` for values that are not finite. None if ``values`` are no packed colors.
    """
    finite = np.isfinite(values)
    given = values[finite].astype(np.float64)
    bits = np.full(len(values), NO_COLOR, np.uint32)
    if len(given) and values.dtype.kind == "f" and np.abs(given).max() < MAX_FLOAT_OF_BITS:
        bits[finite] = given.astype(np.float32).view(np.uint32)
    elif len(given) and ((given == np.floor(given)) & (given >= -(2**31)) & (given < 2**32)).all():
        bits[finite] = given.astype(np.int64).astype(np.uint32)
    else:
        return None
    return bits


def unpacked(bits: np.ndarray, missing: np.ndarray) -> list[np.ndarray]:
    """Red, green and blue (N,) of packed colors uint32 (N,); not-a-number for ``missing`` points, bool (N,)."""
    channels = [(bits >> shift).astype(np.uint8) for shift in (16, 8, 0)]
    return [np.where(missing, np.float32(np.nan), channel) for channel in channels] if missing.any() else channels


def are_missing(bits: np.ndarray) -> np.ndarray:
    """Whether each float with these ``bits``, uint32 (N,), is a not-a-number as writers have it for points without a
    color, bool (N,)."""
    alpha = bits >> 24
    missing: np.ndarray = (alpha == 0x7F) & np.isnan(bits.view(np.float32))
    if np.median(alpha) != 0xFF:  # else it is a red of full opacity
        missing |= bits == OTHER_NAN
    return missing
