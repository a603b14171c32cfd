"""The classes of the answers of a survey."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from app.clouds import asprs
from app.clouds.cloud import ClassInfo
from app.refine.legend import Legend, codes_of


def answered(model: Mapping[str, Any], stated: Sequence[str], labels: Collection[int]) -> list[ClassInfo]:
    """Those of ``model``, as the manifest describes it, with the codes ``stated`` by the option ``classes``, and those
    that refinement gave points, by the ``labels`` that occur."""
    own = [ClassInfo(**{**each, "color": tuple(each["color"])}) for each in model.get("classes", [])]
    legend = Legend(own, codes_of(stated, own))
    legend.recode()
    return [*legend.known, *asprs.added([info.id for info in own], labels)]
