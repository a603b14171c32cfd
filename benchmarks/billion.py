"""One file of a billion points, labelled by ``pointserve batch`` under a limit of memory.

    python -m benchmarks.billion [--points 1000000000] [--device cuda] [--memory-mib 8192] [--folder FOLDER]

The file is made of some made-up tiles, each at many places: of a tile of LAZ only the first point of each chunk says
where it is, so a copy elsewhere costs no compressing. What is measured: seconds by phase, the greatest memory of all
processes together, and the greatest growth of the disk. Where this process may make a cgroup, the kernel ends what
takes more than ``--memory-mib``. The answer must have the points of the file in its order, with their coordinates; for
a sample of places its classes are compared with those of the tile there labelled alone. Prints Markdown, and writes it
as billion-cpu.md or billion-gpu.md into ``--output``.
"""

import argparse
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path

import numpy as np

from app.clouds.records import column
from app.engine import memory_plan
from app.survey.manifest import Manifest
from benchmarks import billion_file
from benchmarks.billion_file import CLASS_BYTE, BigFile
from benchmarks.cgroup import limited
from benchmarks.peaks import Peaks
from benchmarks.table import Table
from benchmarks.timing import machine

MIB = 1 << 20
PROGRESS_S = 60.0
PHASES = ("cut", "pieces", "join")


def main() -> None:
    """Make, label, check, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=1_000_000_000)
    parser.add_argument("--tile-points", type=int, default=1_000_000)
    parser.add_argument("--tiles", type=int, default=32, help="that are made, the others are copies")
    parser.add_argument("--density", type=float, default=4.0, help="points a square metre")
    parser.add_argument("--places", type=int, default=4, help="whose tile is labelled alone, too")
    parser.add_argument("--memory-mib", type=int, default=8192)
    parser.add_argument("--tiles-mib", type=int, help="of that for tiles (default: what batch takes by itself)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--readers", type=int, default=2)
    parser.add_argument("--buffer-m", type=float, default=32.0)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="billion-") as name:
        table = measure(arguments, Path(name))
    print(table, flush=True)
    if arguments.output:
        name = f"billion-{'cpu' if arguments.device == 'cpu' else 'gpu'}.md"
        (arguments.output / name).write_text(f"# One file that is larger than memory\n\n{machine()}\n\n{table}")


def measure(arguments: argparse.Namespace, folder: Path) -> Table:
    """The table of results."""
    clock = Clock()
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        given = (arguments.points, arguments.tile_points, arguments.tiles, arguments.density)
        file = billion_file.made(folder / "in.laz", *given, pool)
    clock.took("make")
    out, peaks, begin_s = folder / "out", Peaks(folder), time.monotonic()
    with limited_or_not(arguments.memory_mib) as (put, limit_text):
        batch = subprocess.Popen(
            command(arguments, [file.path], out, arguments.buffer_m), preexec_fn=put, start_new_session=True
        )
        with peaks.watching(batch.pid):
            while batch.poll() is None:
                print(progress(out, peaks, time.monotonic() - begin_s), flush=True)
                with suppress(subprocess.TimeoutExpired):
                    batch.wait(PROGRESS_S)
    if batch.returncode:
        raise SystemExit(f"pointserve batch ended with {batch.returncode}")
    clock.took("label")
    with Manifest.read(out) as manifest:
        (row,) = manifest.rows()
    answer = Path(row.output)
    print(f"{row.state}: {row.timings_ms}", flush=True)
    with started_places(arguments, file, folder) as places:
        expected, found = billion_file.expected_digest(file), billion_file.digest(answer)
        if expected != found:
            raise SystemExit(f"The answer has other points than the file, or in another order: {expected}, {found}")
        shares = [f"{agreement(file, answer, place, path):.3%}" for place, path in places()]
    clock.took("check")
    head = ["points", "with context", "file, GB", "answer, GB", "memory, GiB", "disk, GB"]
    head += ["make, s", *(f"{phase}, s" for phase in PHASES), "batch, s", "points/s", "check, s"]
    cells = [f"{row.labelled_points:,}", f"{row.labelled_points + row.context_points:,}"]
    cells += [f"{path.stat().st_size / 1e9:.1f}" for path in (file.path, answer)]
    cells += [f"{peaks.memory / 2**30:.2f}", f"{peaks.disk / 1e9:.1f}", f"{clock.seconds['make']:.0f}"]
    cells += [f"{row.timings_ms[phase] / 1e3:.0f}" for phase in PHASES]
    cells += [f"{clock.seconds['label']:.0f}", f"{row.labelled_points / clock.seconds['label']:,.0f}"]
    cells += [f"{clock.seconds['check']:.0f}"]
    parts = ", ".join(f"{what} {num_bytes / 2**30:.2f}" for what, num_bytes in peaks.parts.items())
    notes = [
        f"{file.count:,} places with {len(file.tiles)} tiles, {arguments.density:g} points a square metre; "
        f"`{' '.join(command(arguments, [Path('in.laz')], Path('out'), arguments.buffer_m)[2:])}`.",
        f"Memory: {limit_text}. At its greatest, in GiB: {parts}.",
        f"Seconds of processor: {clock.processor()}; of `batch` "
        + ", ".join(f"{kind} {seconds:,.0f}" for kind, seconds in peaks.processor_s.items())
        + " (web is the driver).",
        "The points of the answer are those of the file, in its order, by their coordinates. "
        f"At {len(shares)} places {', '.join(shares)} of them have the class that they have if the tile that is there "
        "is labelled as a file of its own, with all around it that the model sees.",
    ]
    return Table("pointserve batch", [head, cells], notes)


def progress(out: Path, peaks: Peaks, seconds: float) -> str:
    """What ``batch`` has done until now."""
    pieces, answers = (len(list(out.glob(f".partial/*/*.{suffix}"))) for suffix in ("las", "changes"))
    return (
        f"{seconds:,.0f} s: {pieces:,} files of points, {answers:,} pieces are labelled, at most "
        f"{peaks.memory / 2**30:.2f} GiB of memory and {peaks.disk / 1e9:.1f} GB of the disk"
    )


def command(arguments: argparse.Namespace, sources: Sequence[Path], out: Path, buffer_m: float | None) -> list[str]:
    """What labels ``sources``, with the halo of the model around each if no buffer is given."""
    others = memory_plan.WEB_BYTES + arguments.readers * memory_plan.READER_BYTES
    others += memory_plan.ENGINE_BYTES if arguments.device == "cpu" else memory_plan.CUDA_ENGINE_BYTES
    left_mib = int((1 - memory_plan.SPARE) * arguments.memory_mib) - others // MIB
    words = [sys.executable, "-m", "app.cli", "batch", *map(str, sources), "-o", str(out), "--device", arguments.device]
    words += ["--readers", str(arguments.readers)] + ([] if buffer_m is None else ["--buffer", f"{buffer_m:g}"])
    tiles_mib = arguments.tiles_mib or left_mib // (2 if arguments.device == "cpu" else 1)
    return [*words, "--memory-mib", str(tiles_mib)]


@contextmanager
def started_places(
    arguments: argparse.Namespace, file: BigFile, folder: Path
) -> Iterator[Callable[[], list[tuple[int, Path]]]]:
    """Has the tiles of some places labelled as files; the function waits for that, and gives places and answers."""
    tiles, out = folder / "tiles", folder / "tiles-out"
    tiles.mkdir()
    places = np.linspace(0, file.count - 1, arguments.places + 1).astype(int)[1:].tolist()
    others = [*file.ends, *chain.from_iterable(map(file.around, places))]  # so they have the frame of the whole file
    for place in sorted({*places, *others}):
        (tiles / f"{'tile' if place in places else 'around'}-{place}.laz").write_bytes(file.alone(place))
    words = [*command(arguments, [tiles], out, None), "--buffer-only", "around-*"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as batch:

        def labelled() -> list[tuple[int, Path]]:
            if batch.wait():
                raise SystemExit(f"pointserve batch ended with {batch.returncode} for the tiles")
            return [(place, out / f"tile-{place}.laz") for place in places]

        try:
            yield labelled
        finally:
            batch.terminate()


def agreement(file: BigFile, answer: Path, place: int, path: Path) -> float:
    """The share of points at a place that have the same class in ``answer`` and in the file ``path`` of the place."""
    rows = file.rows(place)
    parts = (answer, rows), (path, slice(0, rows.stop - rows.start))
    found, expected = (column(billion_file.records_of(*part), CLASS_BYTE, "u1") for part in parts)
    return float(np.mean(found == expected))


@contextmanager
def limited_or_not(memory_mib: int) -> Iterator[tuple[object, str]]:
    """What a new process calls to be in a cgroup of so much memory, if one can be made, and words about that."""
    try:
        context = limited(memory_mib)
        put = context.__enter__()
    except OSError:
        yield None, "no cgroup could be made here, so it was measured and not enforced"
        return
    try:
        yield lambda: put(os.getpid()), f"in a cgroup of {memory_mib:,} MiB"
    finally:
        context.__exit__(None, None, None)


class Clock:
    """Seconds of phases that follow each other, and of processor."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._processor: dict[str, float] = {}
        self._last = self._now()

    def took(self, phase: str) -> None:
        """End the ``phase``."""
        now = self._now()
        self.seconds[phase], self._processor[phase] = now[0] - self._last[0], now[1] - self._last[1]
        self._last = now
        print(f"{phase}: {self.seconds[phase]:.1f} s, {self._processor[phase]:.1f} s of processor", flush=True)

    def processor(self) -> str:
        """As words."""
        return ", ".join(f"{phase} {seconds:,.0f}" for phase, seconds in self._processor.items())

    def _now(self) -> tuple[float, float]:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return time.monotonic(), sum(each.ru_utime + each.ru_stime for each in used)


if __name__ == "__main__":
    main()
