"""What a tile of a survey gets of its eight neighbours if other machines have decoded them.

    python -m benchmarks.survey_strips [--tile-m 125 316 1000] [--density 4] [--buffer-m 86]

prints, for square made-up tiles among their like, the bytes of a decoded tile, of its ring, of the rings of all
neighbours, and of the strips of these that the tile needs, which alone travel between the nodes of a Ray cluster.
"""

import argparse
from itertools import product

from app.clouds import strips
from app.clouds.cloud import Cloud
from app.engine.packed import pack_cloud
from app.pipeline.features import read_columns
from app.sample.tile import make_tile
from app.settings import ModelSettings
from app.zoo import experiment
from app.zoo.loading import load_model


def num_bytes(cloud: Cloud) -> int:
    """What a cloud takes in memory, and on its way."""
    with pack_cloud(cloud) as packed:
        return packed.num_bytes


def measure(tile_m: float, density: float, buffer_m: float, columns: frozenset[str]) -> None:
    """Print a row."""
    cloud = make_tile("village", 0, tile_m, density)
    low = cloud.xyz[:, :2].min(0)
    (x, y), (least_z, most_z) = low.tolist(), (cloud.xyz[:, 2].min(), cloud.xyz[:, 2].max())
    ring = strips.ring(cloud, (x, y, least_z, x + tile_m, y + tile_m, most_z), buffer_m, columns)
    needed = 0
    for east, north in set(product((-tile_m, 0.0, tile_m), repeat=2)) - {(0.0, 0.0)}:
        low_x, low_y = x + east, y + north
        box = (low_x, low_y, least_z, low_x + tile_m, low_y + tile_m, most_z)
        needed += num_bytes(strips.within(ring, strips.window(box, buffer_m, cloud.units)))
    sizes = num_bytes(cloud), num_bytes(ring), 8 * num_bytes(ring), needed
    cells = [f"{tile_m:g}", f"{len(cloud):,}", *(f"{size / 1e6:.1f}" for size in sizes)]
    print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tile-m", type=float, nargs="+", default=[125.0, 316.0, 1000.0])
    parser.add_argument("--density", type=float, default=4.0)
    parser.add_argument("--buffer-m", type=float, default=86.0)
    arguments = parser.parse_args()
    model = load_model(experiment.find("")[0], ModelSettings())
    columns = frozenset(read_columns(model.segmenter("cpu").procedure))
    print("| tile, m | points | tile, MB | ring, MB | eight rings, MB | strips, MB |\n|---:|---:|---:|---:|---:|---:|")
    for tile_m in arguments.tile_m:
        measure(tile_m, arguments.density, arguments.buffer_m, columns)


if __name__ == "__main__":
    main()
