"""PT-v2m3: Point Transformer V2 with batch norms for each dataset, under Pointcept's parameter names."""

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from app.errors import BadModel

from .condition import ConditionPlan, index_of
from .layers import Layers
from .ptv2 import PointTransformerV2, PointTransformerV2Plan
from .spunet_prompted import Norm, PromptedBatchNorm, Resolve
from .vector_attention import GroupedVectorAttention, PointNorm
from .voxel_batch import VoxelBatch

PROJECTIONS = ("proj", "proj_skip")


class PromptedPointTransformerV2(PointTransformerV2):
    """Pointcept's ``PT-v2m3``: a ``PT-v2m2`` with norms by dataset outside of the attentions.

    Args:
        context_channels: width of the context that adaptive norms read.
        conditions: names of the datasets.
        norm_decouple: whether every dataset has statistics of its own.
        norm_adaptive: whether a context, which PPT hands over, scales and shifts.
        norm_affine: whether the norms have weights of their own.
        config: those of PT-v2m2.
    """

    reads_context = True

    def __init__(
        self,
        context_channels: int = 256,
        conditions: Sequence[str] = ("ScanNet", "S3DIS", "Structured3D"),
        norm_decouple: bool = True,
        norm_adaptive: bool = True,
        norm_affine: bool = False,
        **config: Any,
    ):
        super().__init__(**config)
        self.conditions, self.norm_adaptive = tuple(conditions), norm_adaptive
        norm = partial(
            PromptedBatchNorm,
            conditions=self.conditions,
            context_channels=context_channels,
            decouple=norm_decouple,
            adaptive=norm_adaptive,
            affine=norm_affine,
        )
        for name in ("patch_embed", "enc_stages", "dec_stages"):
            prompt_norms(getattr(self, name), norm)

    def head(self, channels: int, num_classes: int) -> nn.Module:
        """From features to logits."""
        return nn.Sequential(nn.Linear(channels, num_classes))

    def plan(self, batch: VoxelBatch) -> ConditionPlan[PointTransformerV2Plan]:  # type: ignore[override]
        """Cells and neighbours, and the batch's dataset. Raises BadRequest if the network does not know it."""
        return ConditionPlan(super().plan(batch), index_of(batch.condition, self.conditions))

    @torch.no_grad()
    def forward(  # type: ignore[override]
        self, features: Tensor, plan: ConditionPlan[PointTransformerV2Plan], context: Tensor | None = None
    ) -> Tensor:  # (V, in_channels), (1, context_channels) -> (V, num_classes)
        if self.norm_adaptive and context is None:
            raise BadModel("PT-v2m3 with norm_adaptive=True reads a context, which a PPT around it gives")
        resolve = partial(PromptedBatchNorm.resolved, condition=plan.condition, context=context)
        plain: Any = resolved(self, resolve)
        return PointTransformerV2.forward(plain, features, plan.geometry)


def prompt_norms(module: nn.Module, norm: Norm) -> None:
    """Give blocks, poolings and projections within ``module`` norms by dataset, and these the names they then have."""
    for name, child in list(module.named_children()):
        if isinstance(child, PointNorm):
            setattr(module, name, norm(child.norm.num_features))
        elif name in PROJECTIONS:
            linear, point_norm, _ = cast(Layers, child)
            delattr(module, name)
            setattr(module, f"{name}_linear", linear)
            setattr(module, f"{name}_norm", norm(cast(PointNorm, point_norm).norm.num_features))
        elif not isinstance(child, GroupedVectorAttention):
            prompt_norms(child, norm)


def resolved(module: nn.Module, resolve: Resolve) -> nn.Module:
    """What ``module`` is for a dataset, shaped as in a ``PT-v2m2``; its linear layers are the module's own."""
    if isinstance(module, PromptedBatchNorm):
        return resolve(module)
    children = {name: resolved(child, resolve) for name, child in module.named_children()}
    for name in PROJECTIONS:
        if f"{name}_linear" in children:
            children[name] = Layers(children.pop(f"{name}_linear"), children.pop(f"{name}_norm"), nn.ReLU())
    twin = copy.copy(module)
    twin._modules = dict(children)
    return twin
