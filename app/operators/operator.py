"""An operator of a library: its arguments, what plain torch makes of them, and what is true of it."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

Arguments = dict[str, Any]
Golden = Callable[[dict[str, Tensor], Any], dict[str, Tensor]]


@dataclass(frozen=True)
class Operator:
    """One public function of ``library``.

    Attributes:
        arguments: makes arguments by name, on the CPU, for about as many points as the number, from a generator.
        expected: the result by plain torch, from the arguments and without the library; None if nothing says it.
        outcome: what of the result is compared, from the result and the arguments; None for all of it.
        tolerance: the largest absolute difference from ``expected``.
        linear: whether ``expected`` takes memory in proportion to the points, and so also runs on many.
        on_host: names of arguments that stay on the CPU on every device.
        devices: kinds of devices it runs on.
        repeats: whether results are the same bits every time.
        gradients: names of the arguments by which it has gradients.
        gapped: names of tensors that need not be contiguous.
        any_shape: names of tensors that may have any shape.
        sized_by_values: whether it refuses meta tensors, because values tell the size of the result.
        variant: tells apart two entries of one function.
    """

    library: str
    function: str
    arguments: Callable[[torch.Generator, int], Arguments]
    expected: Callable[[Arguments], Any] | None = None
    outcome: Callable[[Any, Arguments], Any] | None = None
    tolerance: float = 0.0
    linear: bool = True
    on_host: frozenset[str] = frozenset()
    devices: tuple[str, ...] = ("cpu", "cuda")
    repeats: bool = True
    gradients: tuple[str, ...] = ()
    gapped: frozenset[str] = frozenset()
    any_shape: frozenset[str] = frozenset()
    sized_by_values: bool = False
    variant: str = ""

    @property
    def name(self) -> str:
        """The function, with what tells the entry from others of it."""
        return f"{self.function}, {self.variant}" if self.variant else self.function

    def made(self, number: int, device: str = "cpu", seed: int = 0) -> Arguments:
        """Arguments for about ``number`` points, equal on every ``device``."""
        arguments = self.arguments(torch.Generator().manual_seed(seed), number)
        return {
            name: value if name in self.on_host else moved(value, device, self.library)
            for name, value in arguments.items()
        }

    def run(self, arguments: Arguments) -> Any:
        """What the function gives now: looked up by name at every call."""
        return getattr(import_module(self.library), self.function)(**arguments)

    def compared(self, result: Any, arguments: Arguments) -> Any:
        """What of ``result`` is compared."""
        return result if self.outcome is None else self.outcome(result, arguments)

    def error(self, arguments: Arguments) -> float:
        """The largest absolute difference between what the function gives and ``expected``."""
        if self.expected is None:
            raise ValueError(f"nothing says what {self.name} should give")
        return difference(self.compared(self.run(arguments), arguments), self.expected(arguments))


def moved(value: Any, device: str, library: str = "") -> Any:
    """``value`` on ``device``, if it is a tensor or of a class of the library that can be moved."""
    kind = type(value).__module__.partition(".")[0]
    return value.to(device) if isinstance(value, Tensor) or (kind == library and hasattr(value, "to")) else value


def difference(found: Any, expected: Any) -> float:
    """The largest absolute difference of tensors, numbers or tuples of them; infinite if shapes differ."""
    if isinstance(found, tuple):
        return max(difference(one, other) for one, other in zip(found, expected, strict=True))
    found, expected = torch.as_tensor(found).cpu(), torch.as_tensor(expected).cpu()
    if found.shape != expected.shape:
        return float("inf")
    if not found.numel():
        return 0.0
    if found.is_floating_point():
        return float((found.double() - expected.double()).abs().max())
    return float((found.long() - expected.long()).abs().max())
