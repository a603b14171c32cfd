"""ASPRS codes of a model's classes that somebody stated in a file beside its config."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import orjson

from app.clouds.asprs import MAX_CODE
from app.clouds.cloud import ClassInfo
from app.errors import BadModel, some_of
from app.pipeline.procedure import InferenceProcedure
from app.refine.legend import ids_by_name, key

from .stable_file import open_stable

FILE = "classes.json"
MAX_BYTES = 1 << 20
ACCEPTED = f'accepted is an object with a code from 0 to {MAX_CODE} for each class, such as {{"building": 6, "12": 14}}'


def apply(procedure: InferenceProcedure, folder: Path) -> InferenceProcedure:
    """``procedure`` with the codes that the file in ``folder`` states for classes, by name or id, if there is one.

    Raises BadModel if the file is not of that form, or no dataset of the model has such a class.
    """
    path = folder / FILE
    if not path.is_file():
        return procedure
    try:
        with open_stable(path) as file:
            stated = orjson.loads(file.read(MAX_BYTES))
    except (OSError, ValueError) as error:
        raise BadModel(f"{FILE} cannot be read ({error}); {ACCEPTED}") from error
    is_code = isinstance(stated, dict) and all(type(code) is int and 0 <= code <= MAX_CODE for code in stated.values())
    if not is_code:
        raise BadModel(f"{FILE}: {ACCEPTED}")
    groups = [procedure.classes, *procedure.conditions.values()]
    for name, code in stated.items():
        if not any(_codes({name: code}, classes) for classes in groups):
            known = some_of([f"'{info.name:.40}'" for info in procedure.classes], most=40)
            raise BadModel(f"{FILE} names the class {name!r:.60}, which the model does not have; it has {known}")
    conditions = {name: _coded(classes, stated) for name, classes in procedure.conditions.items()}
    return replace(procedure, classes=_coded(procedure.classes, stated), conditions=conditions)


def _coded(classes: Sequence[ClassInfo], stated: Mapping[str, int]) -> list[ClassInfo]:
    """``classes`` with the codes that are ``stated`` for some of them."""
    codes = _codes(stated, classes)
    return [replace(info, asprs=codes.get(info.id, info.asprs)) for info in classes]


def _codes(stated: Mapping[str, int], classes: Sequence[ClassInfo]) -> dict[int, int]:
    """Codes by id; names that none of ``classes`` has are of another dataset."""
    ids = ids_by_name(classes)
    return {ids[key(name)]: code for name, code in stated.items() if key(name) in ids}
