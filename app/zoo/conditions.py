"""Conditions of a model: the datasets that it has norms or heads of their own for, and their classes."""

from collections.abc import Mapping
from typing import Any

from app.clouds.cloud import ClassInfo
from app.errors import BadModel

from .classes import describe, names_of

ACCEPTED = "accepted is dict(type='Update', keys_dict={'condition': …}) among the transforms of data.test"


def classes_by_condition(
    model: Mapping[str, Any], condition: str | None, classes: list[ClassInfo]
) -> dict[str, list[ClassInfo]]:
    """Classes of every dataset that ``model`` has a head for, ``classes`` for ``condition``, the config's own.

    Without a head for several, the config's own dataset is the only one; without one, the dict is empty. Raises
    BadModel if the config names no dataset, one that the model does not know, or another number of classes.
    """
    known = _known(model)
    if not known:
        return {}
    if condition is None and len(known) == 1:
        condition = known[0]
    if condition not in known:
        named = "names no condition" if condition is None else f"names the condition {condition!r}"
        raise BadModel(f"config.py: data.test {named}, the model knows {', '.join(known)}; {ACCEPTED}")
    names = _names(model)
    if names and len(names[condition]) != len(classes):
        raise BadModel(
            f"config.py: data.num_classes is {len(classes)}, but the model has {len(names[condition])} classes for "
            f"{condition}; the two must agree"
        )
    return {name: describe(name, names[name]) for name in names} | {condition: classes}


def _known(model: Any) -> list[str]:
    """Datasets that ``model`` or the backbone in it tells apart."""
    if not isinstance(model, Mapping):
        return []
    norms_by_dataset = model.get("type") != "PT-v3m1" or model.get("pdnorm_bn") or model.get("pdnorm_ln")
    stated = model.get("conditions", model.get("pdnorm_conditions") if norms_by_dataset else None)
    if isinstance(stated, list | tuple) and all(isinstance(name, str) for name in stated):
        return list(stated)
    return _known(model.get("backbone"))


def _names(model: Mapping[str, Any]) -> dict[str, list[str]]:
    """Class names of every dataset that a PPT has a head for; what contradicts is left to the network to refuse."""
    conditions, kind = _known(model), model.get("type")
    try:
        if kind == "PPT-v1m1":
            lists = [[model["class_name"][row] for row in rows] for rows in model["valid_index"]]
        elif kind == "PPT-v1m2":
            lists = [names_of(name, width) for name, width in zip(conditions, model["num_classes"], strict=True)]
        elif kind == "PPT-v1m3":
            lists = [list(names) for names in model["class_names"]]
        else:
            return {}
        return dict(zip(conditions, lists, strict=True))
    except (KeyError, IndexError, TypeError, ValueError):
        return {}
