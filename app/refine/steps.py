"""The table of steps, in the order in which they run; importable without torch.

The module of a step is imported when it runs.
"""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from app.options import Options

if TYPE_CHECKING:
    from torch import Tensor

    from .scene import Scene

    Apply = Callable[[Scene, Options], Tensor | None]


class Step(NamedTuple):
    """A step, of the module ``app.refine.<name>``.

    Attributes:
        name: in answers.
        description: what it does, for users.
        options: those of ``app.options.Options`` that ask for it, each by another value than its default.
        needs_codes: whether it needs the ASPRS codes of the model's classes.
        fields: output fields that it makes, and that ask for it, too.
        reads_codes: whether it needs the classes that the file states.
        context_columns: what it reads of points of context beside coordinates, as in ``ModelCard.columns``.
        point_bytes: the most that it takes for a point, as measured on a million of them (labels by chance).
        class_bytes: the most that it takes for a class of a point, the probabilities that it is given among it.
    """

    name: str
    description: str
    options: tuple[str, ...]
    needs_codes: bool = True
    fields: tuple[str, ...] = ()
    reads_codes: bool = False
    context_columns: tuple[str, ...] = ()
    point_bytes: int = 128
    class_bytes: int = 0

    @property
    def asks(self) -> tuple[str, ...]:
        """Names of the options and the fields that ask for it."""
        return *self.options, *self.fields

    @property
    def labels(self) -> bool:
        """Whether it may change labels; one that only fields ask for makes these and no more."""
        return bool(self.options)

    def is_wanted(self, options: Options) -> bool:
        """Whether ``options`` ask for it."""
        return bool(self.asked(options))

    def asked(self, options: Options) -> list[str]:
        """Names of the options and the fields by which ``options`` ask for it."""
        given = [name for name in self.options if getattr(options, name) != getattr(PLAIN, name)]
        return given + [name for name in self.fields if name in options.fields]

    def load(self) -> "Apply":
        """The function that applies it."""
        module: Any = import_module(f"app.refine.{self.name}")
        apply: Apply = module.apply
        return apply


PLAIN = Options()
STEPS = (
    Step(
        "smooth",
        "Probabilities become means of those nearby; rows that differ in height, colour or normal count less, so that "
        "edges stay.",
        ("smooth", "smooth_radius_m"),
        needs_codes=False,
        context_columns=("color", "normal"),
        point_bytes=730,
        class_bytes=16,
    ),
    Step(
        "sieve",
        "Connected pieces of a class that are too small take the class of most points around them.",
        ("sieve", "sieve_m2"),
        needs_codes=False,
        point_bytes=1200,
    ),
    Step(
        "unclassified",
        "Points whose class is in doubt become unclassified (code 1), or get the ignore label if the model's classes "
        "have no codes.",
        ("min_confidence", "max_entropy"),
        needs_codes=False,
    ),
    Step(
        "noise",
        "Single points and small pieces far above everything become high noise (18), those below the ground low noise "
        "(7).",
        ("noise",),
        point_bytes=330,
    ),
    Step(
        "ground_height",
        "Heights above the ground, which is interpolated where it was not seen.",
        (),
        fields=("height_above_ground",),
        context_columns=("classification",),
    ),
    Step(
        "vegetation",
        "Vegetation (3, 4, 5) becomes low, medium or high by its height above ground.",
        ("vegetation_heights",),
        context_columns=("classification",),
    ),
    Step(
        "classes",
        "The model's classes get the codes that the request states; steps above work with their own codes.",
        ("classes",),
        needs_codes=False,
    ),
    Step(
        "kept",
        "Points that are to keep their class get that of the file back: codes of `preserve`, all but those of `only`, "
        "points with a flag of `preserve_flags`, points that do not lie `within` an area.",
        ("preserve", "only", "preserve_flags", "within"),
        reads_codes=True,
    ),
)


def wanted(options: Options) -> list[Step]:
    """The steps that ``options`` ask for, in their order."""
    return [step for step in STEPS if step.is_wanted(options)]
