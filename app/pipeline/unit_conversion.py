"""Conversion of a cloud's coordinates to the unit that a model was trained with; no other module converts."""

from dataclasses import replace

import numpy as np
from torch import Tensor

from app.clouds.units import Unit, Units

from .run_context import RunContext
from .upload import upload

BY = {"file": "as the file says", "option": "as the request says", "format": "as the format has them"}


def in_unit(xyz: Tensor, stated: Units | None, unit: Unit, run: RunContext) -> Tensor:
    """Coordinates ``xyz`` float64 (N, 3), in ``stated`` units, converted to ``unit``; itself if they are in it already.

    Each axis is multiplied by a factor of its own, in float64. A cloud of unknown unit is taken to be in ``unit``
    already. ``run`` gets the units that were taken, and a warning of a conversion.
    """
    if stated is None or all(axis.source == "assumed" for axis in stated.axes):
        taken = replace(unit, source="assumed")
        run.units = Units(taken, taken, taken, stated.crs if stated else "")
        return xyz
    run.units = stated
    factors = [axis.metres / unit.metres for axis in stated.axes]
    if factors == [1, 1, 1]:
        return xyz
    run.warnings.append(_warning(stated, unit))
    return xyz * upload(np.array(factors), xyz.device)


def _warning(units: Units, unit: Unit) -> str:
    """The sentence for the answer."""
    system = f" ({units.crs})" if units.crs else ""
    sources = dict.fromkeys(BY[axis.source] for axis in units.axes if axis.source in BY)
    open_axes = [name for name, axis in zip("xyz", units.axes, strict=True) if axis.source == "assumed"]
    assumed = f"; nothing is said of {' and '.join(open_axes)}" if open_axes else ""
    how = "projected locally to" if units.x.radians else "converted to"
    return (
        f"Coordinates{system} are in {units.described()}, {' and '.join(sources)}{assumed}: they were {how} "
        f"{unit.plural} for the model, and stay as they are in the answer."
    )
