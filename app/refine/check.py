"""Checks of what is asked for, before any work."""

from collections.abc import Sequence

import numpy as np

from app.clouds.asprs import ADDED_IDS
from app.clouds.cloud import ClassInfo, Cloud
from app.errors import BadRequest, some_of
from app.options import Options

from .legend import Legend, codes_of
from .steps import wanted


def check(options: Options, classes: Sequence[ClassInfo], ignore_label: int, model: str) -> None:
    """Raise BadRequest if a step that ``options`` ask for is not to be had with the ``classes`` of ``model``."""
    steps = wanted(options)
    if not steps:
        return
    asked = ", ".join(name for step in steps for name in step.asked(options))
    if not classes:
        raise BadRequest(f"model {model} knows no classes that could be refined: leave {asked} out")
    if max(ignore_label, *(info.id for info in classes)) >= ADDED_IDS:
        raise BadRequest(f"model {model} has ids of {ADDED_IDS} and more, which refinement needs: leave {asked} out")
    needy = next((step for step in steps if step.needs_codes), None)
    legend = Legend(classes, codes_of(options.classes, classes))
    if needy and not legend.have_codes:
        without = some_of([f"'{info.name:.40}'" for info in legend.known if info.asprs is None])
        raise BadRequest(
            f"{' and '.join(needy.asked(options))} needs an ASPRS code for every class, and model {model} has "
            f"none for {without}: classes=NAME:CODE,… states them"
        )


def check_cloud(options: Options, cloud: Cloud) -> None:
    """Raise BadRequest if a step that ``options`` ask for needs what ``cloud`` does not have."""
    for step in wanted(options):
        if step.reads_codes:
            stated_codes(cloud, " and ".join(step.asked(options)))


def stated_codes(cloud: Cloud, option: str) -> np.ndarray:
    """(N,), the classes that the file states. Raises BadRequest, which names ``option``, if it states none."""
    if "classification" not in cloud.extra:
        raise BadRequest(
            f"{option} needs the classes that the file states, and this {cloud.format} has no column classification; "
            "columns=classification:NAME says which one has them."
        )
    return cloud.extra["classification"]
