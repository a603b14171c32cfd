"""PT-v2m3: Point Transformer V2 whose batch norms depend on the dataset, with Pointcept's parameter names."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from app.errors import BadModel

from .condition import index_of
from .layers import Layers
from .ptv2 import Plan, PointTransformerV2
from .scene import Scene
from .spunet_prompted import Norm, PromptedBatchNorm, Resolve
from .vector_attention import Attention, PointNorm

PROJECTIONS = ("proj", "proj_skip")


@dataclass(frozen=True)
class PromptedPlan:
    """``geometry`` as of a plain network, and the place of the scene's dataset among the network's conditions."""

    geometry: Plan
    condition: int


class PromptedPointTransformerV2(PointTransformerV2):
    """Pointcept's ``PT-v2m3``: a ``PT-v2m2`` with norms by dataset outside of the attentions.

    Args, beyond those of ``PT-v2m2``:
        context_channels: width of the context that adaptive norms read.
        conditions: names of the datasets.
        norm_decouple: whether every dataset has statistics of its own.
        norm_adaptive: whether a context, which PPT hands over, scales and shifts.
        norm_affine: whether the norms have weights of their own.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        patch_embed_depth: int = 1,
        patch_embed_channels: int = 48,
        patch_embed_groups: int = 6,
        patch_embed_neighbours: int = 8,
        enc_depths: Sequence[int] = (2, 2, 6, 2),
        enc_channels: Sequence[int] = (96, 192, 384, 512),
        enc_groups: Sequence[int] = (12, 24, 48, 64),
        enc_neighbours: Sequence[int] = (16, 16, 16, 16),
        dec_depths: Sequence[int] = (1, 1, 1, 1),
        dec_channels: Sequence[int] = (48, 96, 192, 384),
        dec_groups: Sequence[int] = (6, 12, 24, 48),
        dec_neighbours: Sequence[int] = (16, 16, 16, 16),
        grid_sizes: Sequence[float] = (0.06, 0.12, 0.24, 0.48),
        attn_qkv_bias: bool = True,
        pe_multiplier: bool = False,
        pe_bias: bool = True,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        enable_checkpoint: bool = False,
        unpool_backend: str = "map",
        context_channels: int = 256,
        conditions: Sequence[str] = ("ScanNet", "S3DIS", "Structured3D"),
        norm_decouple: bool = True,
        norm_adaptive: bool = True,
        norm_affine: bool = False,
    ):
        super().__init__(
            in_channels,
            num_classes,
            patch_embed_depth,
            patch_embed_channels,
            patch_embed_groups,
            patch_embed_neighbours,
            enc_depths,
            enc_channels,
            enc_groups,
            enc_neighbours,
            dec_depths,
            dec_channels,
            dec_groups,
            dec_neighbours,
            grid_sizes,
            attn_qkv_bias,
            pe_multiplier,
            pe_bias,
            unpool_backend=unpool_backend,
        )
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

    def plan(self, scene: Scene) -> PromptedPlan:  # type: ignore[override]
        """Cells and neighbours, and the scene's dataset. Raises BadRequest where the network knows it not."""
        return PromptedPlan(super().plan(scene), index_of(scene.condition, self.conditions))

    @torch.no_grad()
    def forward(  # type: ignore[override]
        self, features: Tensor, plan: PromptedPlan, context: Tensor | None = None
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
        elif not isinstance(child, Attention):
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
