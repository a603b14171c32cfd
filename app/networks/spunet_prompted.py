"""SpUNet-v1m3: the sparse residual U-Net with batch norms for each dataset, under Pointcept's parameter names."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from app.errors import BadModel

from .condition import ConditionPlan, index_of
from .fold import fold
from .network import Network
from .spunet import ResidualStage, SpUNet, SpUNetPlan, batch_norm, plan_levels
from .voxel_batch import VoxelBatch


class PromptedBatchNorm(nn.Module):
    """Batch norm with statistics by dataset (``bns``, or one ``bn``), scaled and shifted as a context demands."""

    def __init__(
        self,
        channels: int,
        conditions: Sequence[str],
        context_channels: int,
        decouple: bool,
        adaptive: bool,
        affine: bool,
    ):
        super().__init__()
        self.channels = channels
        norm = partial(nn.BatchNorm1d, channels, eps=1e-3, momentum=0.01, affine=affine)
        if decouple:
            self.bns = nn.ModuleList(norm() for _ in conditions)
        else:
            self.bn = norm()
        self.decouple, self.adaptive = decouple, adaptive
        if adaptive:
            self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(context_channels, 2 * channels))

    def resolved(self, condition: int, context: Tensor | None) -> nn.BatchNorm1d:
        """The batch norm that this one is for a dataset and ``context`` (1, context_channels)."""
        norm: Any = self.bns[condition] if self.decouple else self.bn
        weight = torch.ones_like(norm.running_mean) if norm.weight is None else norm.weight
        bias = torch.zeros_like(norm.running_mean) if norm.bias is None else norm.bias
        if self.adaptive:
            shift, scale = self.modulation(context)[0].chunk(2)
            weight, bias = weight * (1 + scale), bias * (1 + scale) + shift
        plain: Any = batch_norm(self.channels).to(weight.device).eval().requires_grad_(False)
        plain.running_mean, plain.running_var = norm.running_mean, norm.running_var
        plain.weight.copy_(weight)
        plain.bias.copy_(bias)
        return plain


Norm = Callable[[int], PromptedBatchNorm]
Resolve = Callable[[PromptedBatchNorm], nn.BatchNorm1d]


class PromptedStep(nn.Module):
    """The convolution of a plain step and a norm by dataset."""

    def __init__(self, plain: Any, norm: Norm):
        super().__init__()
        self.conv = plain[0]
        self.bn = norm(plain[1].num_features)

    def resolve_into(self, plain: Any, resolve: Resolve) -> None:
        """Give ``plain`` the convolution, and the norm that it is for a dataset."""
        plain[0], plain[1] = self.conv, resolve(self.bn)


class PromptedBlock(nn.Module):
    """The convolutions of a plain block and norms by dataset."""

    def __init__(self, plain: Any, norm: Norm):
        super().__init__()
        self.conv1, self.bn1 = plain.conv1, norm(plain.bn1.num_features)
        self.conv2, self.bn2 = plain.conv2, norm(plain.bn2.num_features)
        self.has_proj = isinstance(plain.proj, nn.Sequential)
        if self.has_proj:
            self.proj_conv, self.proj_norm = plain.proj[0], norm(plain.proj[1].num_features)

    def resolve_into(self, plain: Any, resolve: Resolve) -> None:
        """Give ``plain`` the convolutions, and the norms that they are for a dataset."""
        plain.conv1, plain.bn1 = self.conv1, resolve(self.bn1)
        plain.conv2, plain.bn2 = self.conv2, resolve(self.bn2)
        if self.has_proj:
            plain.proj[0], plain.proj[1] = self.proj_conv, resolve(self.proj_norm)


class PromptedStage(nn.ModuleDict):
    """Blocks on one level."""

    def __init__(self, plain: ResidualStage, norm: Norm):
        super().__init__({name: PromptedBlock(block, norm) for name, block in plain.items()})

    def resolve_into(self, plain: ResidualStage, resolve: Resolve) -> None:
        """Give every block of ``plain`` what the one of its name has."""
        for name, block in self.items():
            block.resolve_into(plain[name], resolve)  # type: ignore[operator]


class PromptedSpUNet(Network):
    """Pointcept's ``SpUNet-v1m3``: a ``SpUNet`` for every dataset; they share their convolutions.

    Args:
        in_channels, num_classes, base_channels, channels, layers: as for ``SpUNet``.
        context_channels: width of the context that adaptive norms read.
        enc_mode, cls_mode: not served (encoder only); must be False.
        conditions: names of the datasets.
        zero_init: of training.
        norm_decouple: whether every dataset has statistics of its own.
        norm_adaptive: whether a context, which PPT hands over, scales and shifts.
        norm_affine: whether the norms have weights of their own.
    """

    plans_positions = False
    reads_context = True

    def __init__(
        self,
        in_channels: int,
        num_classes: int = 0,
        base_channels: int = 32,
        context_channels: int = 256,
        channels: tuple[int, ...] = (32, 64, 128, 256, 256, 128, 96, 96),
        layers: tuple[int, ...] = (2, 3, 4, 6, 2, 2, 2, 2),
        enc_mode: bool = False,
        conditions: tuple[str, ...] = ("ScanNet", "S3DIS", "Structured3D"),
        zero_init: bool = True,
        norm_decouple: bool = True,
        norm_adaptive: bool = True,
        norm_affine: bool = False,
        cls_mode: bool = False,
    ):
        super().__init__()
        if enc_mode or cls_mode:
            raise ValueError("SpUNet-v1m3: enc_mode=True gives one answer a cloud; only enc_mode=False is served")
        self.conditions, self.norm_adaptive = tuple(conditions), norm_adaptive
        self._plain = partial(SpUNet, in_channels, num_classes, base_channels, tuple(channels), tuple(layers))
        norm = partial(
            PromptedBatchNorm,
            conditions=self.conditions,
            context_channels=context_channels,
            decouple=norm_decouple,
            adaptive=norm_adaptive,
            affine=norm_affine,
        )
        plain = self._plain()
        self.out_channels, self.num_stages = plain.out_channels, plain.num_stages
        self.conv_input = PromptedStep(plain.conv_input, norm)
        self.down = nn.ModuleList(PromptedStep(step, norm) for step in plain.down)
        self.enc = nn.ModuleList(PromptedStage(stage, norm) for stage in cast("list[ResidualStage]", plain.enc))
        self.up = nn.ModuleList(PromptedStep(step, norm) for step in plain.up)
        self.dec = nn.ModuleList(PromptedStage(stage, norm) for stage in cast("list[ResidualStage]", plain.dec))
        self.final = plain.final

    def plan(self, batch: VoxelBatch) -> ConditionPlan[SpUNetPlan]:
        """Kernel maps of every level, and the batch's dataset. Raises BadRequest if the network does not know it."""
        return ConditionPlan(plan_levels(batch, self.num_stages), index_of(batch.condition, self.conditions))

    def forward(
        self, features: Tensor, plan: ConditionPlan[SpUNetPlan], context: Tensor | None = None
    ) -> Tensor:  # (V, in_channels), (1, context_channels) -> (V, num_classes)
        return self.resolved(plan.condition, context)(features, plan.geometry)

    @torch.no_grad()
    def resolved(self, condition: int, context: Tensor | None) -> SpUNet:
        """The network for one dataset, in eval mode; its convolutions are this network's own."""
        if self.norm_adaptive and context is None:
            raise BadModel("SpUNet-v1m3 with norm_adaptive=True reads a context, which a PPT around it gives")
        resolve = partial(PromptedBatchNorm.resolved, condition=condition, context=context)
        with torch.device("meta"):
            plain: Any = self._plain()
        for name in ("down", "enc", "up", "dec"):
            for prompted, target in zip(getattr(self, name), getattr(plain, name), strict=True):
                prompted.resolve_into(target, resolve)
        self.conv_input.resolve_into(plain.conv_input, resolve)
        plain.final = self.final
        return plain.eval()

    def folded(self) -> "FoldedPromptedSpUNet":
        """The equivalent that inference runs."""
        return FoldedPromptedSpUNet(self)


class FoldedPromptedSpUNet(Network):
    """A ``PromptedSpUNet`` for inference: a folded network for every dataset, made when it is first asked for.

    The context of a dataset must be the same every time.
    """

    plans_positions = False

    def __init__(self, network: PromptedSpUNet):
        super().__init__()
        self.network = network
        self._of_condition: dict[int, nn.Module] = {}

    def plan(self, batch: VoxelBatch) -> ConditionPlan[SpUNetPlan]:
        """As of the network."""
        return self.network.plan(batch)

    def forward(self, features: Tensor, plan: ConditionPlan[SpUNetPlan], context: Tensor | None = None) -> Tensor:
        if plan.condition not in self._of_condition:
            self._of_condition[plan.condition] = fold(self.network.resolved(plan.condition, context))
        return self._of_condition[plan.condition](features, plan.geometry)
