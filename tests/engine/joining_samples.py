"""Tiles and rings, joined from memory file to memory file and by ``strips``."""

from dataclasses import replace

import numpy as np

from app.clouds import strips
from app.engine import joining
from app.engine.packed import pack_cloud, unpack_cloud
from app.engine.protocol import Border, CloudFile, Join
from tests.clouds.strip_samples import READ, box, make_tile

COLUMNS = tuple(sorted(READ))
FRAME = (-500.0, -400.0, -9.0, 1000.0, 900.0, 99.0)


def tile(west_m=0.0, seed=0, **others):
    return replace(make_tile(west_m, 30_000, seed), **others)


def ring(cloud, west_m, width_m=8.0):
    return joining.cut(cloud, Border(box(west_m), width_m, COLUMNS))


def join(cloud, rings, buffer_m=5.0, bounds=None, columns=COLUMNS):
    """``cloud`` and packed ``rings`` as one, and what ``strips`` makes of them."""
    bounds = bounds or box(0)
    with pack_cloud(cloud) as packed:
        files = [CloudFile(each.layout, each.meta) for each in (packed, *rings)]
        request = Join(files[0], files[1:], [each.inner for each in rings], bounds, buffer_m, columns, FRAME)
        with joining.join(packed, rings, request) as whole:
            found = unpack_cloud(whole)
    unpacked = [unpack_cloud(each) for each in rings]
    for each in unpacked:
        each.extra.pop(strips.SIDES, None)
    return found, strips.joined(cloud, unpacked, bounds, buffer_m, columns, FRAME)


def assert_same(found, expected):
    assert list(found.extra) == list(expected.extra)
    for name in ("xyz", "rgb", "intensity", "normals"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    for name, values in expected.extra.items():
        np.testing.assert_array_equal(found.extra[name], values)
        assert found.extra[name].dtype == values.dtype
    for name in ("format", "warnings", "num_context", "uncolored", "frame", "intensity_scale", "units", "columns"):
        assert getattr(found, name) == getattr(expected, name)
