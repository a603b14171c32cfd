"""Two files of the same points to a tile with both their classes."""

import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.clouds import formats
from app.clouds.cloud import Cloud
from app.clouds.crs import system_of
from app.clouds.units import differ
from app.errors import BadCloud, BadRequest, Problem, some_of
from app.evaluate.matching import matched
from app.evaluate.partners import Partners
from app.evaluate.scheme import NO_CODE, Scheme
from app.evaluate.tile import Tile

CODES, IDS = ("classification",), ("label", "labels", "segment")
PREDICTED = ("label", "labels", *CODES, "segment")  # a file that came in may keep its codes beside the labels it got
TRUTH = (*CODES, "segment", "label", "labels")
CONFIDENCE = "confidence"
HEIGHTS = ("height_above_ground", "HeightAboveGround")  # as pointserve and PDAL call it


@dataclass(frozen=True)
class Columns:
    """Names of the columns that hold the classes of the prediction and of the truth; by default the first of
    ``PREDICTED`` and of ``TRUTH`` that is there."""

    predicted: str = ""
    truth: str = ""


def read(pair: Partners, columns: Columns, scheme: Scheme) -> Tile:
    """The points of ``pair``, in the order of the truth.

    Points are matched by their order if both files have them at the same places, else by coordinate. An NPY of N
    labels has no places, and is taken to be in the order of the truth. A file that states no units has those of the
    other.

    Raises:
        Problem: a file cannot be read or states no classes; number or places of the points or the coordinate systems
            differ; one states codes of LAS and the other ids, without rules in ``scheme`` that say which are the same.
    """
    truth = _cloud(pair.truth, columns.truth)
    predicted = _labels_alone(pair.predicted, truth) or _cloud(pair.predicted, columns.predicted)
    _check_number(len(predicted), truth)
    true_name, codes = _classes(truth, columns.truth, TRUTH, "TRUTH")
    name, labels = _classes(predicted, columns.predicted, PREDICTED, "PRED")
    kinds = {each in IDS for each in (name, true_name) if each in CODES + IDS}
    if len(kinds) > 1 and not scheme.rules:
        raise BadRequest(
            f"PRED states its classes as {name} and TRUTH as {true_name}, and codes of LAS are no ids of classes: "
            "--map says which are the same, as in --map 0=2:ground."
        )
    _check_systems(predicted, truth)
    xyz_m = _metres(truth, predicted)
    rows, notes = matched(_metres(predicted, truth), xyz_m)
    if rows is not None:
        predicted, labels = predicted.taken(rows), labels[rows]
    confidence = predicted.extra.get(CONFIDENCE)
    if confidence is not None and (confidence.min() < 0 or confidence.max() > 1):
        confidence, notes = None, (*notes, "Its confidence is not from 0 to 1, and was not used.")
    heights = [cloud.extra[each] for cloud in (truth, predicted) for each in HEIGHTS if each in cloud.extra]
    return Tile(
        pair.name, codes, labels, xyz_m, true_name not in IDS, confidence, heights[0] if heights else None, notes
    )


def _check_number(num_predicted: int, truth: Cloud) -> None:
    if num_predicted != len(truth):
        raise BadCloud(
            f"PRED has {num_predicted:,} points and TRUTH {len(truth):,}: these are not the same points. Evaluate "
            "files whose points were neither thinned nor cut."
        )


def _cloud(path: Path, column: str) -> Cloud:
    keep = (*CODES, *IDS, CONFIDENCE, *HEIGHTS, *([column] if column else []))
    try:
        with path.open("rb") as file:
            if not path.stat().st_size:
                raise BadCloud("The file is empty (0 bytes).")
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        return formats.read(data, filename=path.name, keep=keep)
    except OSError as error:
        raise BadRequest(f"{path} cannot be read: {error.strerror}.") from None
    except Problem as problem:
        raise type(problem)(f"{path}: {problem.detail}") from None


def _labels_alone(path: Path, truth: Cloud) -> Cloud | None:
    """The cloud of ``truth`` with the labels (N,) of an NPY that holds nothing else, such as ``pointserve predict -o
    labels.npy`` writes; None for any other file."""
    if path.suffix.lower() != ".npy":
        return None
    try:
        labels = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BadCloud(f"{path}: the file cannot be read as NPY: {error}.") from None
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        return None
    _check_number(len(labels), truth)
    return Cloud(truth.xyz, "npy", extra={"labels": labels}, units=truth.units)


def _classes(cloud: Cloud, wanted: str, usual: Sequence[str], side: str) -> tuple[str, np.ndarray]:
    """Name and values of the column of classes, whole numbers (N,); what is none becomes -1."""
    name = wanted or next((name for name in usual if name in cloud.extra), "")
    if name in cloud.columns and name not in cloud.extra:
        raise BadCloud(f"{side} has no classes in its column {name}: name another one.")
    if name not in cloud.extra:
        missing = f"no column {wanted}" if wanted else f"no classes: none of the columns {', '.join(usual)}"
        raise BadCloud(f"{side} has {missing}; its columns are {some_of(list(cloud.columns))}.")
    values = cloud.extra[name]
    if values.dtype.kind == "f":
        whole = np.isfinite(values) & (values == np.floor(values)) & (np.abs(values) < 1 << 31)
        values = np.where(whole, values, NO_CODE).astype(np.int64)
    return name, values


def _metres(cloud: Cloud, other: Cloud) -> np.ndarray:
    """The coordinates of ``cloud`` in metres, by the units of the ``other`` if it states none."""
    units = cloud.units or other.units
    factors = [axis.metres for axis in units.axes] if units else [1.0]
    return cloud.xyz if set(factors) == {1.0} else cloud.xyz * factors


def _check_systems(predicted: Cloud, truth: Cloud) -> None:
    """Raises BadCloud if both state a coordinate system or units, and others."""
    if predicted.units is None or truth.units is None:
        return
    first, second = predicted.units.crs, truth.units.crs
    if differ(predicted.units, truth.units):
        raise BadCloud(
            f"PRED is in {predicted.units.described()} and TRUTH in {truth.units.described()}: convert one of them."
        )
    if first and second and first.casefold() != second.casefold():
        systems = [system_of(each) for each in (first, second)]
        if None in systems or not systems[0].equals(systems[1], ignore_axis_order=True):
            raise BadCloud(f"PRED is in the coordinate system {first} and TRUTH in {second}: convert one of them.")
