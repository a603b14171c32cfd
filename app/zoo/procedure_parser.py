"""Reads the test procedure and the classes out of a config, as an InferenceProcedure."""

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from app.clouds.cloud import ClassInfo
from app.clouds.columns import STRENGTHS
from app.clouds.units import METRE, Unit, parse_unit
from app.errors import BadModel
from app.pipeline.procedure import InferenceProcedure, Transform

from .classes import describe, names_of

T = TypeVar("T")

MAX_CLASSES = 10_000
BLOCK = "a dict with type and transform"
FEATURE_WIDTHS = {"coord": 3, "color": 3, "normal": 3, **dict.fromkeys(STRENGTHS, 1)}
VOXELIZE_DEFAULTS = {
    "grid_size": 0.05,
    "hash_type": "fnv",
    "mode": "train",
    "keys": ("coord", "normal", "color", "label"),
}
OLD_ARGUMENTS = (
    "type",
    "voxel_size",
    "return_discrete_coord",
    "return_grid_coord",
)  # of Voxelize, whose step is rewritten
OLD_KEYS = {"discrete_coord": "grid_coord", "label": "segment"}  # of Collect, before Pointcept had its name


def value(config: Mapping[str, Any], path: str, kind: type[T], accepted: str, default: T | None = None) -> T:
    """The value at the dotted ``path``, of type ``kind``; ``default``, if given, if the key is absent or None.

    A tuple serves as a list. Raises BadModel that names the path and says what is ``accepted``.
    """
    found = _look_up(config, path)
    if isinstance(found, tuple) and kind is list:
        found = list(found)
    if found is None and default is not None:
        return default
    if not isinstance(found, kind) or (isinstance(found, bool) and kind is int):
        raise BadModel(f"config.py: {path} {_got(found)}; accepted is {accepted}")
    return found


def parse(name: str, config: Mapping[str, Any]) -> InferenceProcedure:
    """The procedure of the config's ``data.test``, or of ``data.val`` if ``data.test`` is empty.

    Without a ``test_cfg`` the transforms are cut at their GridSample: those before it act on the raw cloud, those
    after it on the points that represent voxels.
    """
    classes = _classes(config)
    ignore_label = value(config, "data.ignore_index", int, "an integer", default=-1)
    if 0 <= ignore_label < len(classes):  # a class left out of training; points that could not be used are not of it
        ignore_label = -1
    block = _test_path(config)
    steps = (
        _stated_steps(config, block) if "test_cfg" in value(config, block, dict, BLOCK) else _cut_steps(config, block)
    )
    return InferenceProcedure(
        name=name,
        classes=classes,
        ignore_label=ignore_label,
        unit=_unit(config),
        vegetation_heights_m=_vegetation_heights_m(config),
        **steps,
    )


def test_block(config: Mapping[str, Any]) -> dict[str, Any]:
    """``data.test``, or ``data.val`` if it is empty."""
    return value(config, _test_path(config), dict, BLOCK)


def dataset(config: Mapping[str, Any]) -> str | None:
    """``data.title``, else the type of the dataset."""
    return value(config, "data.title", str, "a string", default=_dataset_type(config) or "") or None


def tester(config: Mapping[str, Any]) -> str:
    """The type of the config's tester, '' if it names none."""
    return value(config, "test.type", str, "a string", default="")


def feat_keys(procedure: InferenceProcedure) -> tuple[str, ...]:
    """What the Collect of ``post_transform`` joins into the features of a point, in that order."""
    collects = [step for step in procedure.post_transform if step["type"] == "Collect"]
    keys = collects[-1].get("feat_keys") if collects else None
    keys = (keys,) if isinstance(keys, str) else keys
    if not isinstance(keys, list | tuple) or not keys or not all(isinstance(key, str) for key in keys):
        raise BadModel(
            f"config.py: post_transform names no features {_got(keys)}; accepted is a last dict(type='Collect', "
            "keys=…, feat_keys=('color', …))"
        )
    return tuple(keys)


def check_in_channels(model: Mapping[str, Any], keys: tuple[str, ...]) -> None:
    """Raise BadModel if a backbone's ``in_channels`` is not the width of the features, as far as that is known."""
    widths = [FEATURE_WIDTHS.get(key) for key in keys]
    path, backbone = "model.backbone", model.get("backbone")
    while isinstance(backbone, Mapping) and "backbone" in backbone:
        path, backbone = f"{path}.backbone", backbone["backbone"]
    stated = backbone.get("in_channels") if isinstance(backbone, Mapping) else None
    known = [width for width in widths if width is not None]
    if isinstance(stated, int) and len(known) == len(widths) and sum(known) != stated:
        raise BadModel(
            f"config.py: {path}.in_channels is {stated}, but feat_keys {', '.join(keys)} "
            f"are {sum(known)} channels; the two must agree"
        )


def grid_size_m(procedure: InferenceProcedure) -> float | None:
    """The side of a voxel, None if it differs by axis."""
    size = procedure.voxelize["grid_size"]
    return float(size) * procedure.unit.metres if isinstance(size, int | float) else None


def condition(block: Mapping[str, Any], procedure: InferenceProcedure) -> str | None:
    """The ``condition`` that transforms add to a sample, or else that the dataset states."""
    added = [step.get("keys_dict") for step in (*procedure.transform, *procedure.post_transform)]
    stated = [keys.get("condition") for keys in added if isinstance(keys, Mapping)] + [block.get("condition")]
    return next((name for name in stated if isinstance(name, str)), None)


def _dataset_type(config: Mapping[str, Any]) -> str | None:
    kind = test_block(config).get("type")
    return kind if isinstance(kind, str) else None


def _test_path(config: Mapping[str, Any]) -> str:
    return "data.test" if value(config, "data.test", dict, f"{BLOCK}, or nothing", default={}) else "data.val"


def _stated_steps(config: Mapping[str, Any], block: str) -> dict[str, Any]:
    path = f"{block}.test_cfg"
    if _look_up(config, f"{path}.crop") is not None:
        raise BadModel(f"config.py: {path}.crop is not served; accepted is None: clouds too large are cut into tiles")
    views = value(config, f"{path}.aug_transform", list, "a list of lists of dict(type=…)", default=[])
    voxelize = value(config, f"{path}.voxelize", dict, "dict(type='GridSample', grid_size=…, mode='test')")
    return {
        "transform": _transforms(config, f"{block}.transform"),
        "voxelize": _grid_sample(voxelize, f"{path}.voxelize"),
        "post_transform": _transforms(config, f"{path}.post_transform"),
        "aug_transform": [_checked(view, f"{path}.aug_transform") for view in views],
    }


def _cut_steps(config: Mapping[str, Any], block: str) -> dict[str, Any]:
    path = f"{block}.transform"
    steps = _transforms(config, path)
    cuts = [i for i, step in enumerate(steps) if step["type"] == "GridSample"]
    if not cuts:
        raise BadModel(f"config.py: {path} holds no GridSample and {block} no test_cfg; one of them must voxelize")
    cut = cuts[-1]
    voxelize = {key: item for key, item in steps[cut].items() if key != "return_inverse"} | {"mode": "test"}
    return {
        "transform": steps[:cut],
        "voxelize": _grid_sample(voxelize, f"{path}[{cut}]"),
        "post_transform": steps[cut + 1 :],
    }


def _transforms(config: Mapping[str, Any], path: str) -> list[Transform]:
    return _checked(value(config, path, list, "a list of dict(type=…)"), path)


def _checked(steps: Any, path: str) -> list[Transform]:
    steps = list(steps) if isinstance(steps, list | tuple) else [steps]
    for step in steps:
        if not isinstance(step, dict) or not isinstance(step.get("type"), str):
            raise BadModel(f"config.py: {path} holds {step!r:.80}; accepted is dict(type='…', …)")
        _refuse_old_names(step, path)
    return steps


def _refuse_old_names(step: Transform, path: str) -> None:
    """Raise BadModel, with what to write instead, for names that transforms had before they had those of today."""
    if step.get("type") == "Voxelize":
        size = {"grid_size": step["voxel_size"]} if "voxel_size" in step else {}
        own = {key: given for key, given in step.items() if key not in OLD_ARGUMENTS}
        written = VOXELIZE_DEFAULTS | size | own | {"return_grid_coord": True}
        arguments = ", ".join(f"{key}={given!r:.80}" for key, given in written.items())
        raise BadModel(
            f"config.py: {path} has Voxelize, the old name of GridSample; write dict(type='GridSample', {arguments}) "
            "and in Collect grid_coord for discrete_coord. A new name alone would change what is meant: keys has to be "
            "written, because it says that NormalizeColor gave colors from -1 to 1 then, c / 127.5 - 1, not from 0 to "
            "1 as today; grid_size, hash_type and mode, where Voxelize had none, are those that it took"
        )
    found = step.get("keys", ()) if step.get("type") == "Collect" else ()
    old = [key for key in OLD_KEYS if key in ((found,) if isinstance(found, str) else found)]
    if old:
        better = " and ".join(f"{OLD_KEYS[key]} for {key}" for key in old)
        raise BadModel(f"config.py: {path} has a Collect with old names in keys; write {better}")


def _grid_sample(step: Transform, path: str) -> Transform:
    _refuse_old_names(step, path)
    size = step.get("grid_size")
    sides = size if isinstance(size, list | tuple) else [size]
    if step.get("type") != "GridSample" or len(sides) not in (1, 3) or not all(map(_is_length, sides)):
        raise BadModel(
            f"config.py: {path} is {step!r:.120}; accepted is a GridSample with a positive grid_size in metres, "
            "or one for each of x, y, z"
        )
    return step


def _unit(config: Mapping[str, Any]) -> Unit:
    """The unit of coordinates and grid, metres unless ``data.unit`` says otherwise."""
    stated = _look_up(config, "data.unit")
    if stated is None:
        return METRE
    try:
        unit = parse_unit(str(stated))
        if unit.radians:
            raise ValueError("an angle is no unit of a grid")
    except ValueError as error:
        raise BadModel(f"config.py: data.unit: {error}") from None
    return unit


def _vegetation_heights_m(config: Mapping[str, Any]) -> tuple[float, ...]:
    """``data.vegetation_heights``, two heights that ascend; none if it is absent."""
    accepted = "two heights above ground in metres that ascend, such as (0.5, 2.0)"
    stated = value(config, "data.vegetation_heights", list, accepted, default=[])
    if stated and not (len(stated) == 2 and all(map(_is_length, stated)) and stated[0] < stated[1]):
        raise BadModel(f"config.py: data.vegetation_heights {_got(stated)}; accepted is {accepted}")
    return tuple(map(float, stated))


def _is_length(side: Any) -> bool:
    return isinstance(side, int | float) and not isinstance(side, bool) and math.isfinite(side) and side > 0


def _classes(config: Mapping[str, Any]) -> list[ClassInfo]:
    """Classes in the order of the logits: names, colors and ASPRS codes from ``data`` or else from known datasets."""
    names = value(config, "data.names", list, "a list of class names", default=[])
    if not all(isinstance(name, str) and name for name in names):
        raise BadModel("config.py: data.names holds something other than names; accepted is a list of strings")
    num_classes = _num_classes(config, names)
    kind = _dataset_type(config)
    classes = describe(kind, names or names_of(kind, num_classes))
    colors = _per_class(config, "data.colors", num_classes, _is_color, "(r, g, b) from 0 to 255")
    codes = _per_class(config, "data.asprs", num_classes, _is_asprs, "an ASPRS code from 0 to 255 or None")
    return [
        ClassInfo(
            info.id,
            info.name,
            tuple(colors[info.id]) if colors else info.color,
            codes[info.id] if codes else info.asprs,
        )
        for info in classes
    ]


def _num_classes(config: Mapping[str, Any], names: list[str]) -> int:
    """The number of classes, on which ``data.num_classes``, ``data.names`` and the network's head must agree."""
    value(config, "data.num_classes", int, "an integer", default=1)
    paths = ("data.num_classes", "model.num_classes", "model.semantic_num_classes", "model.backbone.num_classes")
    stated = {path: width for path in paths if isinstance(width := _look_up(config, path), int)}
    if stated.get(paths[-1]) == 0:  # a backbone without a head
        del stated[paths[-1]]
    if names:
        stated["the length of data.names"] = len(names)
    if len(set(stated.values())) != 1 or not all(0 < width <= MAX_CLASSES for width in stated.values()):
        found = ", ".join(f"{path} {width}" for path, width in stated.items()) or "nothing"
        raise BadModel(
            f"config.py: the number of classes is given by {found}; data.num_classes, data.names and the "
            f"network's num_classes must agree on one number from 1 to {MAX_CLASSES}"
        )
    return next(iter(stated.values()))


def _look_up(config: Any, path: str) -> Any:
    for key in path.split("."):
        config = config.get(key) if isinstance(config, Mapping) else None
    return config


def _per_class(
    config: Mapping[str, Any], path: str, num_classes: int, accepts: Callable[[Any], bool], accepted: str
) -> list[Any]:
    values = value(config, path, list, f"a list, {accepted} for each class", default=[])
    if values and (len(values) != num_classes or not all(map(accepts, values))):
        raise BadModel(
            f"config.py: {path} {_got(values)}; accepted is {accepted} for each of the {num_classes} classes"
        )
    return values


def _is_color(color: Any) -> bool:
    return isinstance(color, list | tuple) and len(color) == 3 and all(map(_is_byte, color))


def _is_asprs(code: Any) -> bool:
    return code is None or _is_byte(code)


def _is_byte(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= 255


def _got(found: Any) -> str:
    return "is missing" if found is None else f"is {found!r:.80}"
