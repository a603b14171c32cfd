"""Pointcept's test transforms by their type names, and pointserve's own."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from app.errors import BadModel, BadRequest

from . import aerial, roughness
from .noise_below import drop_noise_below, noise_below_reach_m
from .sample import Sample, box, moved, take
from .support import support, support_reach_m
from .upload import upload
from .voxelize import grid_sample

Bounds = Sequence[float]
ACROSS = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}  # the axes that a rotation about each turns, the first to the second
LABELS = frozenset({"segment", "instance"})


def center_shift(sample: Sample, *, apply_z: bool = True) -> Sample:
    """The middle of x and y becomes 0, and the lowest z too if ``apply_z``."""
    low, high = box(sample)
    shift = (low + high) / 2
    shift[2] = low[2] if apply_z else 0
    return moved(sample, lambda coord: coord - shift)


def positive_shift(sample: Sample) -> Sample:
    """The lowest coordinate on every axis becomes 0."""
    low, _ = box(sample)
    return moved(sample, lambda coord: coord - low)


def normalize_coord(sample: Sample) -> Sample:
    """The mean becomes 0 and the farthest point lies at distance 1."""
    coord = sample["coord"]
    mean = coord.cpu().numpy().mean(0)  # upstream's sum of float32 one by one, whose rounding moves voxels
    middle = torch.from_numpy(mean).to(coord.device)
    sample = moved(sample, lambda coord: coord - middle)
    distance2 = _squared_lengths(sample["coord"]).amax().cpu().numpy()
    farthest = torch.from_numpy(np.asarray(np.sqrt(distance2))).to(coord.device)  # torch's root is not exact everywhere
    return moved(sample, lambda coord: coord / farthest)


def normalize_color(sample: Sample, *, signed: bool = False) -> Sample:
    """Color from 0..255 to 0..1, or to -1..1 if ``signed``."""
    if "color" not in sample:
        return sample
    return sample | {"color": sample["color"] / 127.5 - 1 if signed else sample["color"] / 255}


def point_clip(sample: Sample, *, point_cloud_range: Bounds = (-80, -80, -3, 80, 80, 1)) -> Sample:
    """Points outside the box (low x, y, z, high x, y, z) are moved to its border; coordinates become float64."""
    low, high = upload(np.array(point_cloud_range, np.float64).reshape(2, 3), sample["coord"].device)
    return moved(sample, lambda coord: coord.double().clamp(low, high))


def random_rotate_target_angle(
    sample: Sample,
    *,
    angle: Bounds = (1 / 2, 1, 3 / 2),
    center: Bounds | None = None,
    axis: str = "z",
    always_apply: bool = False,
    p: float = 0.75,
) -> Sample:
    """Rotation by the one given ``angle``, in units of pi; coordinates and normals become float64."""
    _demand_certain("RandomRotateTargetAngle", "angle", angle, 1 if always_apply else p)
    return rotate(sample, angle[0] * math.pi, axis, center)


def random_rotate(
    sample: Sample,
    *,
    angle: Bounds | None = None,
    center: Bounds | None = None,
    axis: str = "z",
    always_apply: bool = False,
    p: float = 0.5,
) -> Sample:
    """Rotation by an ``angle`` between two equal bounds, in units of pi; coordinates and normals become float64."""
    _demand_certain("RandomRotate", "angle", (-1, 1) if angle is None else angle, 1 if always_apply else p)
    return rotate(sample, angle[0] * math.pi, axis, center)  # type: ignore[index]


def random_scale(sample: Sample, *, scale: Bounds | None = None, anisotropic: bool = False) -> Sample:
    """Coordinates times a factor between two equal bounds."""
    bounds = (0.95, 1.05) if scale is None else scale
    _demand_certain("RandomScale", "scale", bounds, 1)
    return moved(sample, lambda coord: (coord.double() * bounds[0]).to(coord.dtype))


def random_shift(sample: Sample, *, shift: Sequence[Bounds] = ((-0.2, 0.2), (-0.2, 0.2), (0, 0))) -> Sample:
    """Coordinates plus, on each axis, a distance between two equal bounds; they become float64."""
    for bounds in shift:
        _demand_certain("RandomShift", "shift", bounds, 1)
    by = upload(np.array([low for low, _ in shift], np.float64), sample["coord"].device)
    return moved(sample, lambda coord: coord.double() + by)


def random_flip(sample: Sample, *, p: float = 0.5) -> Sample:
    """x and y, of coordinates and normals, change their sign."""
    _demand_certain("RandomFlip", "p", (p,), p)
    sign = upload(np.array([-1, -1, 1], np.float32), sample["coord"].device)
    return sample | {key: sample[key] * sign for key in ("coord", "frame", "normal") if key in sample}


def sphere_crop(
    sample: Sample, *, point_max: int = 80000, sample_rate: float | None = None, mode: str = "random"
) -> Sample:
    """The ``point_max`` points, or the share ``sample_rate`` of them, nearest to the middle point of the list."""
    if mode != "center":
        raise BadModel(f"SphereCrop: mode={mode!r} is drawn at random; only mode='center' is served")
    coord = sample["coord"]
    limit = point_max if sample_rate is None else int(sample_rate * len(coord))
    if len(coord) <= limit:
        return sample
    distance2 = _squared_lengths(coord - coord[len(coord) // 2])
    return take(sample, distance2.argsort(stable=True)[:limit])


def copy(sample: Sample, *, keys_dict: Mapping[str, str] | None = None) -> Sample:
    """New names for entries; labels, which a cloud to be labelled lacks, may be absent."""
    names = {"coord": "origin_coord", "segment": "origin_segment"} if keys_dict is None else keys_dict
    out = dict(sample)
    for old, new in names.items():
        if old in sample:
            out[new] = sample[old]
        elif old not in LABELS:
            raise BadModel(f"Copy: no entry {old!r}; there are {', '.join(sorted(sample))}")
    return out


def update(sample: Sample, *, keys_dict: Mapping[str, Any] | None = None) -> Sample:
    """Entries set to given values."""
    return sample | dict(keys_dict or {})


def add(sample: Sample, *, keys_dict: Mapping[str, Any] | None = None) -> Sample:
    """Entries set to given values if they are absent."""
    return dict(keys_dict or {}) | sample


def instance_parser(
    sample: Sample, *, segment_ignore_index: Sequence[int] = (-1, 0, 1), instance_ignore_index: int = -1
) -> Sample:
    """The sample unchanged: instances are what a network is to find."""
    return sample


def to_tensor(sample: Sample) -> Sample:
    """The sample unchanged: it has tensors already."""
    return sample


def collect(
    sample: Sample, *, keys: str | Sequence[str], offset_keys_dict: Mapping[str, str] | None = None, **joined: Any
) -> Sample:
    """Entries ``keys``, and for every ``<name>_keys=`` an entry ``<name>``: those columns side by side, float32.

    ``feat`` (N, C) is what a network reads. ``offset_keys_dict`` (names of batch offsets) is for batches: ignored.
    """
    wanted = (keys,) if isinstance(keys, str) else keys
    out = {key: sample[key] for key in wanted if key in sample}
    for name, columns in joined.items():
        if not name.endswith("_keys"):
            raise BadModel(f"Collect: unknown key {name}; accepted are keys, offset_keys_dict and <name>_keys")
        absent = [column for column in columns if column not in sample]
        if absent:
            raise BadRequest(
                f"the model reads {', '.join(absent)} ({name}), which the cloud lacks; "
                f"it has {', '.join(sorted(sample))}. "
                "Name the columns of the file with columns=, or send a cloud that has them"
            )
        parts = [sample[column].float().reshape(len(sample["coord"]), -1) for column in columns]
        out[name.removesuffix("_keys")] = torch.cat(parts, 1)
    return out


def rotate(sample: Sample, angle_rad: float, axis: str, center: Bounds | None) -> Sample:
    """Right-handed rotation about ``axis`` through ``center``, the middle of the bounding box if None."""
    if center is None:
        low, high = box(sample)
        middle = (low + high) / 2
    else:
        middle = upload(np.array(center, np.float64), sample["coord"].device)
    out = moved(sample, lambda coord: _turned(coord - middle.to(coord.dtype), angle_rad, axis) + middle)
    if "normal" in sample:
        out["normal"] = _turned(sample["normal"], angle_rad, axis)
    return out


def _turned(vectors: Tensor, angle_rad: float, axis: str) -> Tensor:
    """float64 (N, 3), right-handed rotation about the origin; sums term by term, which every device rounds alike."""
    cos, sin = math.cos(angle_rad), math.sin(angle_rad)
    first, second = ACROSS[axis]
    one, other = vectors[:, first].double(), vectors[:, second].double()
    turned = vectors.to(torch.float64, copy=True)
    turned[:, first] = one * cos - other * sin
    turned[:, second] = one * sin + other * cos
    return turned


def _squared_lengths(vectors: Tensor) -> Tensor:
    """(N,), summed term by term, which numpy and every device round alike."""
    x, y, z = vectors.unbind(1)
    return x * x + y * y + z * z


def _demand_certain(name: str, argument: str, bounds: Bounds, p: float) -> None:
    if len(set(bounds)) != 1 or p < 1:
        raise BadModel(
            f"{name}: {argument}={list(bounds)} with p={p} leaves something to chance; only p=1 and one value serve"
        )


class TransformType(NamedTuple):
    """The function of a transform.

    Attributes:
        function: takes a sample, and by name the config's keys; gives the changed sample.
        draws: whether it also needs ``rng``, a RandomState.
        reach: takes the config's keys by name; how far around a point it looks, in metres. None for the point alone, or
            its nearest ones.
        is_read: whether later transforms read what this one adds, so that they look so much farther.
    """

    function: Callable[..., Sample]
    draws: bool = False
    reach: Callable[..., float] | None = None
    is_read: bool = False

    def keys(self) -> list[inspect.Parameter]:
        """The parameters that a config may state."""
        _, *others = inspect.signature(self.function).parameters.values()
        return [each for each in others if each.name != "rng"]


TRANSFORMS = {
    "Add": TransformType(add),
    "CenterShift": TransformType(center_shift),
    "Collect": TransformType(collect),
    "Copy": TransformType(copy),
    "DropNoiseBelow": TransformType(drop_noise_below, reach=noise_below_reach_m),
    "GridSample": TransformType(grid_sample, draws=True),
    "HeightAboveLowest": TransformType(aerial.height_above_lowest, reach=aerial.lowest_reach_m),
    "HeightAboveOpening": TransformType(aerial.height_above_opening, reach=aerial.opening_reach_m),
    "InstanceParser": TransformType(instance_parser),
    "NormalizeColor": TransformType(normalize_color),
    "NormalizeCoord": TransformType(normalize_coord),
    "Occupancy": TransformType(aerial.occupancy),
    "PointClip": TransformType(point_clip),
    "PositiveShift": TransformType(positive_shift),
    "RandomFlip": TransformType(random_flip),
    "RandomRotate": TransformType(random_rotate),
    "RandomRotateTargetAngle": TransformType(random_rotate_target_angle),
    "RandomScale": TransformType(random_scale),
    "RandomShift": TransformType(random_shift),
    "Returns": TransformType(aerial.returns),
    "Roughness": TransformType(roughness.roughness),
    "SphereCrop": TransformType(sphere_crop),
    "Support": TransformType(support, reach=support_reach_m, is_read=True),
    "ToTensor": TransformType(to_tensor),
    "Update": TransformType(update),
    "VoxelOffset": TransformType(aerial.voxel_offset),
}


def check(transform: Mapping[str, Any]) -> None:
    """Raise BadModel if ``transform`` (a dict(type=…) of a config) is not served or has unknown keys."""
    name = transform.get("type")
    if name not in TRANSFORMS:
        raise BadModel(f"transform {name!r} is not served at test time; served are {', '.join(TRANSFORMS)}")
    keys = TRANSFORMS[name].keys()
    accepted = [key.name for key in keys if key.kind is not key.VAR_KEYWORD]
    unknown = [key for key in transform if key != "type" and key not in accepted]
    if unknown and len(accepted) == len(keys):
        raise BadModel(f"{name}: unknown key {', '.join(unknown)}; accepted are {', '.join(accepted) or 'none'}")


def apply(transforms: Sequence[Mapping[str, Any]], sample: Sample, rng: np.random.RandomState | None = None) -> Sample:
    """The sample after every transform in turn; ``rng`` is for those that draw.

    A transform changes no tensor of the sample that it gets. Raises BadModel as ``check`` does.
    """
    rng = rng or np.random.RandomState(0)
    for transform in transforms:
        check(transform)
        kind = TRANSFORMS[transform["type"]]
        arguments = {key: value for key, value in transform.items() if key != "type"}
        sample = kind.function(sample, **arguments, **({"rng": rng} if kind.draws else {}))
    return sample
