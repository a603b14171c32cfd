"""What ``benchmarks.files`` runs in processes of their own, in this checkout or another.

``make FOLDER POINTS FORMAT…`` makes files; ``read FILE`` and ``write FILE OUTPUT`` print processor and wall
milliseconds and MiB as JSON, of the fastest of three times after one that does not count.
"""

import inspect
import json
import mmap
import os
import pickle
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from app.bench.clouds import room
from app.clouds import catalog, formats, laz, rows
from app.clouds.cloud import ClassInfo, Cloud, Segmentation, SegmentationMeta
from app.engine import arrays
from app.engine.packed import pack_cloud
from tests.clouds.peak import taken_by

NAMES = ("x", "y", "z", "red", "green", "blue", "nx", "ny", "nz")
CLASSES = [ClassInfo(number, f"class {number}", (0, 0, 0), code) for number, code in enumerate((2, 6, 9, 5))]
SPACING_M = 0.35
TIMES = 3


def make(folder: Path, num_points: int, names: list[str]) -> None:
    """Files of one cloud: coordinates, colors and normals; LAS and LAZ with intensity and GPS time and no normals."""
    table = room(num_points, SPACING_M, ["color", "normal"], 0).round(3)
    xyz, rgb, normals = table[:, :3].copy(), table[:, 3:6].astype(np.uint8), table[:, 6:].astype(np.float32)
    for name in names:
        with (folder / f"cloud.{name}").open("wb") as file:
            if name == "npy":
                np.save(file, table)
            elif name == "npz":
                np.savez(file, coord=xyz, color=rgb, normal=normals)
            elif name == "pkl":
                pickle.dump({"coord": xyz.astype(np.float32), "color": rgb, "normal": normals}, file)
            elif name == "csv":
                np.savetxt(file, table, "%.3f", ",", header=",".join(NAMES), comments="")
            elif name in ("las", "laz"):
                intensity = np.random.default_rng(0).integers(0, 65536, num_points).astype(np.float32)
                cloud = Cloud(xyz, "npy", rgb, intensity, extra={"gps_time": np.arange(num_points) * 1e-5})
                file.write(formats.write(name, cloud, segmentation(num_points)))
            else:
                file.write(formats.write(name, Cloud(xyz, "npy", rgb, normals=normals), segmentation(num_points)))


def segmentation(num_points: int) -> Segmentation:
    """Labels."""
    return Segmentation((np.arange(num_points) % len(CLASSES)).astype(np.int32), SegmentationMeta(CLASSES))


def read(path: Path) -> Cloud:
    """The cloud in a file, for a model that needs no further columns and an answer without any."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        names = NAMES if path.suffix == ".npy" else None
        data = memoryview(mapped)
        formats.reading_needs(data, filename=path.name, columns=names, keep=())
        cloud = formats.read(data, filename=path.name, columns=names, keep=())
        data.release()
        return cloud


def figures(work: Callable[[], None]) -> list[float]:
    """Milliseconds of processor and wall, and MiB beyond those before."""
    times = []
    for _ in range(1 + TIMES):
        begin = time.process_time(), time.perf_counter()
        taken, _ = taken_by(work)
        times.append([1e3 * (time.process_time() - begin[0]), 1e3 * (time.perf_counter() - begin[1]), taken / 2**20])
    return min(times[1:])


def main(what: str, place: str, *rest: str) -> None:
    """The command line."""
    path = Path(place)
    catalog.load_all()
    num_threads = int(os.environ["RAYON_NUM_THREADS"])
    laz.start_threads(*[num_threads] * len(inspect.signature(laz.start_threads).parameters))  # before, it took none
    rows.start_threads(min(8, num_threads))
    if what == "make":
        make(path, int(rest[0]), list(rest[1:]))
        print("[]")
    elif what == "read":
        print(json.dumps(figures(lambda: os.close(pack_cloud(read(path)).detach()))))
    else:
        data = memoryview(path.read_bytes())
        cloud = formats.read(data)

        def write() -> None:
            answer = formats.write(rest[0], cloud, segmentation(len(cloud)), data)
            with arrays.ArrayFile() as file:
                file.add_bytes(answer)
                os.close(file.seal())

        print(json.dumps(figures(write)))


if __name__ == "__main__":
    main(*sys.argv[1:])
