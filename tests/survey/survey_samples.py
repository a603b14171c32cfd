"""Tiles and results that the tests of surveys share."""

from typing import Any

from app.survey.tile import Tile
from app.survey.workers import TileResult


def tile_of(name: str, **values: Any) -> Tile:
    about = {"path": f"/survey/{name}", "format": "laz", "num_bytes": 100, "version": "100-1", "num_points": 7}
    return Tile(name=name, **about | values)


def result_of(tile: Tile, **values: Any) -> TileResult:
    about = {"num_points": 7, "output": f"/out/{tile.name}", "num_bytes": 99, "sha256": "ab", "counts": {0: 3, 2: 4}}
    return TileResult(**about | values)
