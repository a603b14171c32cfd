"""Norms that may depend on the dataset a cloud comes from (PPT), and sequences that pass the dataset on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from app.networks.condition import index_of

Norm = Callable[[int], nn.Module]  # from a number of channels


@dataclass(frozen=True)
class Prompt:
    """The dataset's name and its context, float32 (1, C), for networks trained on several."""

    condition: str | None = None
    context: Tensor | None = None


class PDNorm(nn.Module):
    """Pointcept's ``PDNorm``: one norm for each dataset and, if ``adaptive``, a scale and a shift made from the
    context."""

    def __init__(
        self,
        num_features: int,
        norm_layer: Norm,
        conditions: Sequence[str],
        adaptive: bool = False,
        context_channels: int = 256,
    ):
        super().__init__()
        self.conditions = list(conditions)
        self.norm = nn.ModuleList(norm_layer(num_features) for _ in conditions)
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(context_channels, 2 * num_features)) if adaptive else None

    def forward(self, x: Tensor, prompt: Prompt) -> Tensor:  # (V, C) -> (V, C)
        x = self.norm[index_of(prompt.condition, self.conditions)](x)
        if self.modulation is None:
            return x
        if prompt.context is None:
            raise ValueError("pdnorm_adaptive=True needs a context, which the model's PPT type gives")
        shift, scale = self.modulation(prompt.context).chunk(2, dim=1)
        return x * (1 + scale) + shift


class Prompted(nn.Sequential):
    """Modules in a row; every ``PDNorm`` among them gets the prompt."""

    def forward(self, x: Tensor, prompt: Prompt) -> Tensor:  # type: ignore[override]
        for module in self:
            x = module(x, prompt) if isinstance(module, PDNorm) else module(x)
        return x
