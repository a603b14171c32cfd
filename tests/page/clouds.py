"""Small clouds whose colors on the screen are known."""

import io

import numpy as np
from plyfile import PlyData, PlyElement

RED, BLUE = (230, 20, 30), (20, 60, 240)


def halves(names: tuple[str, str, str] = ("x", "y", "z")) -> np.ndarray:
    """A floor of 40 by 40 m: the western half red and object 1, the eastern half blue and object 2."""
    east, north = np.mgrid[0:40:0.25, 0:40:0.25].reshape(2, -1)
    is_east = east >= 20
    columns = dict(zip(names, (east, north, np.zeros(len(east))), strict=True))
    columns |= {
        name: np.where(is_east, BLUE[channel], RED[channel]).astype(np.uint8)
        for channel, name in enumerate(("red", "green", "blue"))
    }
    columns |= {"amplitude": np.where(is_east, 200, 10).astype(np.uint8), "instance": is_east.astype(np.int32) + 1}
    return np.rec.fromarrays(columns.values(), names=list(columns))


def ply(table: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    PlyData([PlyElement.describe(np.asarray(table), "vertex")]).write(buffer)
    return buffer.getvalue()
