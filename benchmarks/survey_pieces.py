"""What memory it takes to cut a LAZ file into pieces and to put their answers together, by the number of points.

    python -m benchmarks.survey_pieces [--points 1000000 30000000] [--piece-points 1000000] [--buffer-m 86]

makes files of that many points in no order of places, 10 a square metre, and prints seconds of processor, the greatest
memory of the process (beyond what its imports took), and the size of the folder once the file is cut. Copies of the
pieces stand for answers.
"""

import argparse
import multiprocessing
import resource
import shutil
import struct
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import lazrs
import numpy as np

from app.clouds import laz, laz_chunks
from app.clouds.las_file import head, parse
from app.clouds.las_records import LASZIP, new_vlr
from app.clouds.records import column
from app.sample.tile import las_bytes, make_tile
from app.survey import changes, headers, pieces, whole
from app.survey.tile import Source

MIB = 1 << 20
BLOCK_POINTS = 1 << 20


def write_file(path: Path, num_points: int) -> None:
    """A LAZ file of points in no order, block by block."""
    like = parse(memoryview(las_bytes(make_tile("village", 0, 20.0, 2.0), compress=False)))
    side = (num_points / 10) ** 0.5
    laszip = laz_chunks.laszip_of(like.point_format, like.record_length)
    written = bytearray(head(like, [*like.vlrs, new_vlr(LASZIP, "", laszip)], like.record_length, compressed=True))
    struct.pack_into("<Q", written, 247, num_points)
    low = like.offset
    struct.pack_into("<6d", written, 179, low[0] + side, low[0], low[1] + side, low[1], low[2] + 50, low[2])
    template = laz.decode(like)[:1]
    rng = np.random.default_rng(0)
    with path.open("wb") as out:
        out.write(written)
        compressor = lazrs.ParLasZipCompressor(out, lazrs.LazVlr(laszip))
        for first in range(0, num_points, BLOCK_POINTS):
            count = min(BLOCK_POINTS, num_points - first)
            records = np.repeat(template, count, 0)
            for axis, extent in enumerate((side, side, 50)):
                column(records, 4 * axis, "<i4")[:] = rng.random(count) * extent / like.scale[axis]
            compressor.compress_many(records.reshape(-1))
        compressor.done()


def peak_bytes() -> int:
    """Greatest memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(folder: Path, num_points: int, piece_points: int, buffer_m: float) -> None:
    """Cut and join one file, and print a row."""
    path = folder / "file.laz"
    begin_bytes, moments_s = peak_bytes(), [time.process_time()]
    tile = headers.tile_of(Source(path.name, str(path)))
    cut = pieces.cut(tile, str(path), folder, piece_points, buffer_m, buffer_m)
    moments_s.append(time.process_time())
    on_disk = sum(each.stat().st_size for each in folder.iterdir())
    for number in range(len(cut.pieces)):
        pieces.write_context(cut, number, folder / "context")
        (folder / "context").unlink(missing_ok=True)
    moments_s.append(time.process_time())
    answers = [changes.taken(piece.path, shutil.copy(piece.path, f"{piece.path}.answer")) for piece in cut.pieces]
    moments_s.append(time.process_time())
    whole.join(cut, answers, folder / "whole.laz", "laz")
    moments_s.append(time.process_time())
    phases = " | ".join(f"{end - begin:.1f}" for begin, end in pairwise(moments_s))
    beyond = (peak_bytes() - begin_bytes) / MIB
    print(
        f"| {num_points:,} | {len(cut.pieces):,} | {phases} | {beyond:,.0f} | {on_disk / num_points:.0f} |", flush=True
    )


def main() -> None:
    """Measure each number of points in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, nargs="+", default=[1_000_000, 30_000_000])
    parser.add_argument("--piece-points", type=int, default=1_000_000)
    parser.add_argument("--buffer-m", type=float, default=86.0)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    phases = " | ".join(f"{phase}, CPU s" for phase in ("cut", "context", "changes", "join"))
    print(f"| points | pieces | {phases} | memory, MiB | disk, bytes a point |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|")
    spawn = multiprocessing.get_context("spawn")
    for num_points in arguments.points:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
            for target, given in (
                (write_file, (Path(name) / "file.laz", num_points)),
                (measure, (Path(name), num_points, arguments.piece_points, arguments.buffer_m)),
            ):
                process = spawn.Process(target=target, args=given)
                process.start()
                process.join()
                if process.exitcode:
                    raise SystemExit(process.exitcode)


if __name__ == "__main__":
    main()
