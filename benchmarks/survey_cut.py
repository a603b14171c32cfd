"""Whether a survey's answer shows how it was cut: a file cut into tiles, each labelled with strips of its neighbours.

    python -m benchmarks.survey_cut FILE… [--tile-m 125] [--buffer-m 0 32 102] [--models FOLDER]

prints, for every file and buffer, the share of points whose label is that of the uncut cloud. Tiles are cut at the
multiples of their size in the file's coordinates. Without a frame, each tile lays out its grids by itself. Buffers are
none and what the model needs, unless others are named.
"""

import argparse
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np

from app.clouds import formats, strips
from app.clouds.cloud import Bounds, Cloud
from app.options import Options
from app.pipeline.features import read_columns
from app.pipeline.reach import halo_m
from app.pipeline.segmenter import Segmenter
from app.settings import ModelSettings
from app.zoo import experiment
from app.zoo.loading import load_model


def cut(cloud: Cloud, tile_m: float) -> Iterator[np.ndarray]:
    """The rows of each tile of ``tile_m`` by ``tile_m``, in the cloud's order."""
    places = np.floor(cloud.xyz[:, :2] / tile_m).astype(np.int64)
    _, tiles = np.unique(places, axis=0, return_inverse=True)
    tiles = tiles.reshape(-1)
    order = np.argsort(tiles, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(tiles[order])) + 1)


def bounds_of(cloud: Cloud) -> Bounds:
    """The box around a cloud."""
    return (*cloud.xyz.min(0).tolist(), *cloud.xyz.max(0).tolist())


def survey(segmenter: Segmenter, cloud: Cloud, tile_m: float, buffer_m: float, frame: Bounds | None) -> np.ndarray:
    """Labels (N,) of a cloud, labelled tile by tile with strips of ``buffer_m`` of its neighbours."""
    parts = [(rows, cloud.taken(rows)) for rows in cut(cloud, tile_m)]
    boxes = [bounds_of(part) for _, part in parts]
    columns = read_columns(segmenter.procedure)
    rings = [strips.ring(part, box, buffer_m, columns) for (_, part), box in zip(parts, boxes, strict=True)]
    labels = np.empty(len(cloud), np.int32)
    for number, (rows, part) in enumerate(parts):
        others = [ring for place, ring in enumerate(rings) if place != number and len(ring)]
        whole = strips.joined(part, others if buffer_m else [], boxes[number], buffer_m, columns, frame)
        labels[rows] = segmenter.segment(whole, Options()).labels
    return labels


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--tile-m", type=float, default=125.0)
    parser.add_argument("--buffer-m", type=float, nargs="+")
    parser.add_argument("--models", default="")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    folder = experiment.find(arguments.models)[0]
    segmenter = load_model(folder, ModelSettings()).segmenter(arguments.device)
    print("| file | points | tiles | buffer, m | frame | equal labels, % | CPU s |\n|---|---:|---:|---:|---|---:|---:|")
    for path in arguments.files:
        cloud = formats.read(memoryview(path.read_bytes()), filename=path.name, keep=())
        begin = time.process_time()
        whole = segmenter.segment(cloud, Options()).labels
        print(f"| {path.name} | {len(cloud):,} | 1 | | | | {time.process_time() - begin:.1f} |", flush=True)
        num_tiles = len(list(cut(cloud, arguments.tile_m)))
        buffers_m = arguments.buffer_m or [0.0, halo_m(segmenter.procedure)]
        for buffer_m, frame in product(buffers_m, (None, bounds_of(cloud))):
            begin = time.process_time()
            labels = survey(segmenter, cloud, arguments.tile_m, buffer_m, frame)
            equal = 100 * np.mean(labels == whole)
            how = "own" if frame is None else "survey"
            spent_s = time.process_time() - begin
            print(f"| | | {num_tiles} | {buffer_m:g} | {how} | {equal:.4f} | {spent_s:.1f} |", flush=True)


if __name__ == "__main__":
    main()
