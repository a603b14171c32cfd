"""Checks of what is asked for, before any work."""

from collections.abc import Sequence

from app.clouds.asprs import ADDED_IDS
from app.clouds.cloud import ClassInfo
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
