"""Colors of any depth, or packed into one number, to 8 bits a channel."""

import numpy as np

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
        return np.stack(channels, axis=1), []
    values = np.stack([channel.astype(np.float32) for channel in channels], axis=1)  # (N, 3)
    warnings = []
    unset = ~np.isfinite(values).all(axis=1)
    if unset.any():
        values[unset] = 0
        num_unset = np.count_nonzero(unset)
        warnings.append(f"Points with colors that are not finite: {num_unset:,}; taken as black.")
    lowest, highest = float(values.min(initial=0)), float(values.max(initial=0))
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
    return np.rint(values * np.float32(255 / full_scale)).astype(np.uint8), warnings


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
