"""``python -m benchmarks.refine FILE …``: seconds and errors of the steps that refine labels, on the processor.

FILE is a LAS or LAZ file with a classification. The first table has processor seconds, divided by two for two cores, of
each step for a million points, with labels and probabilities made from the classification ("speckled": every 20th label
by chance), and areas of one ring of 1,000 and of 20,000 corners. The second says which points of codes 7, 18 and 65
``noise`` finds and how many others it takes; and how far heights above the ground (2) are from those over a TIN of all
of its points, for those within 300 m of the first. With ``OMP_NUM_THREADS=1`` other work on the machine counts least.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import laspy
import numpy as np
import torch
from scipy.interpolate import LinearNDInterpolator
from torch import Tensor

from app.clouds.area import Area
from app.refine.cells import Cells
from app.refine.ground_height import height_above
from app.refine.noise import find_noise
from app.refine.sieve import sieved
from app.refine.smooth import smoothed
from app.refine.unclassified import entropy
from app.refine.vegetation import by_height
from app.refine.within import within
from benchmarks.table import Table

NOISE = (7, 18, 65)
ROW_M = 0.5  # edge of the voxels that probabilities belong to
TIN_M = 300
TIN_POINTS = 20_000


def seconds_a_million(step: Callable[[], object], num_points: int, repeats: int = 3) -> float:
    """Least processor seconds on one of two cores of ``repeats`` runs, for a million points."""
    spent_s = []
    for _ in range(repeats):
        begin_s = time.process_time()
        step()
        spent_s.append(time.process_time() - begin_s)
    return min(spent_s) / 2 / num_points * 1e6


def tin_errors_m(xyz: Tensor, is_ground: Tensor, heights: Tensor) -> np.ndarray:
    """Differences of ``heights`` from those over a TIN, of some points where it has a triangle."""
    near = ((xyz[:, :2] - xyz[0, :2]).abs() < TIN_M).all(1)
    ground = xyz[near & is_ground].double().numpy()
    asked = near.nonzero().flatten()[:: max(1, int(near.sum()) // TIN_POINTS)]
    points = xyz[asked].double().numpy()
    tin = points[:, 2] - LinearNDInterpolator(ground[:, :2], ground[:, 2])(points[:, :2])
    errors: np.ndarray = np.abs(tin - heights[asked].numpy())
    return errors[np.isfinite(errors)]


def ring_around(xy: Tensor, corners: int) -> Area:
    """An area of one ring of as many ``corners``, which holds about half of the points ``xy`` (P, 2)."""
    low, high = torch.aminmax(xy, dim=0)
    angle = torch.arange(corners, dtype=torch.float64) * 2 * torch.pi / corners
    reach = (0.4 + 0.03 * (19 * angle).sin())[:, None] * (high - low)
    places = (low + high) / 2 + reach * torch.stack([angle.cos(), angle.sin()], 1)
    return Area([[list(map(tuple, places.tolist()))]])


def rows(path: Path) -> tuple[list[str], list[str]]:
    """The lines of both tables for a file."""
    las = laspy.read(path)
    places = np.asarray(las.xyz)
    xyz = torch.from_numpy((places - np.floor(places.min(0) / 1024) * 1024).astype(np.float32))
    codes = torch.from_numpy(np.asarray(las.classification).astype(np.int64))
    num_points = len(xyz)
    voxels = Cells.of(xyz, ROW_M)
    first = torch.full((len(voxels.counts),), num_points).scatter_reduce(
        0, voxels.of_point, torch.arange(num_points), "amin"
    )
    classes = torch.tensor([2, 3, 5, 6])
    shares = (codes[first][:, None] == classes).float().add(0.1)
    coord = xyz[first]
    speckled = codes.clone()
    speckled[::20] = classes[torch.randint(0, 4, (len(speckled[::20]),), generator=torch.Generator().manual_seed(0))]
    is_ground = codes == 2
    is_low, is_high = find_noise(xyz)
    is_noise = torch.isin(codes, torch.tensor(NOISE))
    found = is_low | is_high
    lost = int((found & ~is_noise).sum())
    heights = height_above(xyz, is_ground)
    errors_m = tin_errors_m(xyz, is_ground, heights)
    xy = xyz[:, :2].double()
    area, large = ring_around(xy, 1000), ring_around(xy, 20_000)
    spent = [
        seconds_a_million(step, num_points)
        for step in (
            lambda: smoothed(shares, coord, 8),
            lambda: smoothed(shares, coord, 64),
            lambda: smoothed(shares, coord, radius_m=1.0),
            lambda: sieved(xyz, codes, 20),
            lambda: sieved(xyz, speckled, 20, 4.0),
            lambda: entropy(shares),
            lambda: find_noise(xyz),
            lambda: height_above(xyz, is_ground),
            lambda: by_height(heights, (0.5, 2.0)),
            lambda: within(xy, area),
            lambda: within(xy, large),
        )
    ]
    name = [path.stem, f"{num_points:,}"]
    return [*name, *(f"{each:.2f}" for each in spent)], [
        *name,
        f"{int((found & is_noise).sum())} of {int(is_noise.sum())}",
        f"{lost} ({1e4 * lost / num_points:.1f})",
        *(f"{each:.2f}" for each in (errors_m.mean(), np.quantile(errors_m, 0.99))),
    ]


def main() -> None:
    """Print the tables."""
    found = [rows(Path(path)) for path in sys.argv[1:]]
    steps = ["smooth=8", "smooth=64", "smooth_radius_m=1", "sieve=20", "sieve_m2=4, speckled", "max_entropy"]
    steps += ["noise", "height_above_ground", "vegetation_heights", "within", "20,000 corners"]
    print(Table("Seconds a million points", [["file", "points", *steps], *(first for first, _ in found)]))
    errors = ["noise found", "others lost (of 10,000)", "mean off the TIN, m", "99 %, m"]
    print(Table("Noise and heights", [["file", "points", *errors], *(second for _, second in found)]))


if __name__ == "__main__":
    main()
