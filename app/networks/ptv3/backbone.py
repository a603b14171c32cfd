"""PT-v3m1, Point Transformer V3: inference only, with Pointcept's parameter names."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from sparseops import KernelMap, submanifold_map
from torch import Tensor, nn

from app.networks.network import Network
from app.networks.scene import Scene

from .attention import SerializedAttention
from .block import Block
from .geometry import Level, Step, coarsen, coarsen_order, make_level, order_along, sorted_voxels
from .norm import Norm, PDNorm, Prompt
from .steps import Embedding, Pooling, Unpooling

CURVES = ("z", "z-trans", "hilbert", "hilbert-trans")


@dataclass(frozen=True)
class Plan:
    """All that the network needs of the geometry.

    Attributes:
        rows: int64 (V,), the scene's rows in the order of the finest level.
        stem: the 5³ kernel map of the finest level.
        levels: from fine to coarse.
        steps: between them.
        condition: the scene's.
    """

    rows: Tensor
    stem: KernelMap
    levels: list[Level]
    steps: list[Step]
    condition: str | None


class PointTransformerV3(Network):
    """Pointcept's ``PT-v3m1``; arguments are those of its config, of which dropout and shuffling act in training only.

    ``enc_mode`` (once ``cls_mode``) leaves out the decoder; the features of every stage then stand side by side, the
    finest first. ``legacy_blocks`` is for weights trained before Pointcept v1.5.2: a block's positional convolution
    reads the output of the MLP before it, without the shortcut.
    """

    plans_positions = False

    def __init__(
        self,
        in_channels: int = 6,
        order: Sequence[str] | str = ("z", "z-trans"),
        stride: Sequence[int] = (2, 2, 2, 2),
        enc_depths: Sequence[int] = (2, 2, 2, 6, 2),
        enc_channels: Sequence[int] = (32, 64, 128, 256, 512),
        enc_num_head: Sequence[int] = (2, 4, 8, 16, 32),
        enc_patch_size: Sequence[int] = (48, 48, 48, 48, 48),
        dec_depths: Sequence[int] = (2, 2, 2, 2),
        dec_channels: Sequence[int] = (64, 64, 128, 256),
        dec_num_head: Sequence[int] = (4, 4, 8, 16),
        dec_patch_size: Sequence[int] = (48, 48, 48, 48),
        mlp_ratio: float = 4,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
        drop_path: float = 0.3,
        pre_norm: bool = True,
        shuffle_orders: bool = True,
        enable_rpe: bool = False,
        enable_flash: bool = True,
        upcast_attention: bool = False,
        upcast_softmax: bool = False,
        enc_mode: bool = False,
        cls_mode: bool = False,
        pdnorm_bn: bool = False,
        pdnorm_ln: bool = False,
        pdnorm_decouple: bool = True,
        pdnorm_adaptive: bool = False,
        pdnorm_affine: bool = True,
        pdnorm_conditions: Sequence[str] = ("ScanNet", "S3DIS", "Structured3D"),
        legacy_blocks: bool = False,
    ):
        super().__init__()
        self.curves = (order,) if isinstance(order, str) else tuple(order)
        self.enc_mode = enc_mode or cls_mode
        self.enable_flash = enable_flash
        self.stride = tuple(stride)
        self.patch_sizes = tuple(enc_patch_size)
        _check_lengths(len(enc_depths) - 1, {"stride": stride})
        encoder = {"enc_channels": enc_channels, "enc_num_head": enc_num_head}
        decoder = {"dec_channels": dec_channels, "dec_num_head": dec_num_head, "dec_patch_size": dec_patch_size}
        _check_lengths(len(enc_depths), encoder | {"enc_patch_size": enc_patch_size})
        if not self.enc_mode:
            _check_lengths(len(enc_depths) - 1, {"dec_depths": dec_depths} | decoder)
            if tuple(dec_patch_size) != self.patch_sizes[:-1]:
                raise ValueError(
                    "enc_patch_size and dec_patch_size must agree stage by stage, "
                    f"got {tuple(enc_patch_size)} and {tuple(dec_patch_size)}"
                )
        self._check(pdnorm_bn or pdnorm_ln, pdnorm_decouple, enable_rpe)
        batch_norm: Norm = partial(nn.BatchNorm1d, eps=1e-3, momentum=0.01)
        layer_norm: Norm = nn.LayerNorm
        by_dataset = partial(PDNorm, conditions=pdnorm_conditions, adaptive=pdnorm_adaptive)
        if pdnorm_bn:
            plain = partial(nn.BatchNorm1d, eps=1e-3, momentum=0.01, affine=pdnorm_affine)
            batch_norm = partial(by_dataset, norm_layer=plain)
        if pdnorm_ln:
            layer_norm = partial(by_dataset, norm_layer=partial(nn.LayerNorm, elementwise_affine=pdnorm_affine))

        def stage(step: tuple[str, nn.Module] | None, depth: int, channels: int, heads: int, patch: int) -> nn.Module:
            blocks = [
                Block(
                    channels,
                    SerializedAttention(
                        channels, heads, patch, qkv_bias, qk_scale, index % len(self.curves), enable_rpe
                    ),
                    mlp_ratio,
                    layer_norm,
                    pre_norm,
                    legacy_blocks,
                )
                for index in range(depth)
            ]
            return Stage(dict([step] if step else []) | {f"block{i}": block for i, block in enumerate(blocks)})

        self.embedding = Embedding(in_channels, enc_channels[0], batch_norm)
        self.enc = nn.ModuleDict()
        self.out_channels = sum(enc_channels)
        for s, (depth, channels, heads, patch) in enumerate(
            zip(enc_depths, enc_channels, enc_num_head, enc_patch_size, strict=True)
        ):
            step = ("down", Pooling(enc_channels[s - 1], channels, batch_norm)) if s else None
            self.enc[f"enc{s}"] = stage(step, depth, channels, heads, patch)
        if not self.enc_mode:
            self.dec = nn.ModuleDict()
            self.out_channels = dec_channels[0]
            widths = (*dec_channels, enc_channels[-1])
            for s in reversed(range(len(stride))):
                up = Unpooling(widths[s + 1], enc_channels[s], widths[s], batch_norm)
                self.dec[f"dec{s}"] = stage(("up", up), dec_depths[s], widths[s], dec_num_head[s], dec_patch_size[s])

    def _check(self, has_pdnorm: bool, decouple: bool, enable_rpe: bool) -> None:
        unknown = sorted(set(self.curves) - set(CURVES))
        if unknown or not self.curves:
            raise ValueError(f"order must be names out of {', '.join(CURVES)}, got {self.curves}")
        if any(stride not in (1, 2, 4, 8, 16) for stride in self.stride):
            raise ValueError(f"stride must be powers of 2 up to 16, got {self.stride}")
        if has_pdnorm and not decouple:
            raise ValueError("pdnorm_decouple=False is not served; accepted is True, one norm a dataset")
        if enable_rpe and self.enable_flash:
            raise ValueError("enable_rpe=True and enable_flash=True exclude each other; accepted is one of them")

    def plan(self, scene: Scene) -> Plan:
        """Orders, patches and kernel maps of every level."""
        rows, voxels = sorted_voxels(scene)
        order = order_along(self.curves, voxels, scene.joint)
        stem = submanifold_map(voxels.coords, 5)
        shared = scene.joint and not self.enable_flash
        levels, steps = [], []
        for s, patch_size in enumerate(self.patch_sizes):
            if s:
                pooled = self.stride[s - 1].bit_length() - 1
                shifts = [pooled if pooled <= depth else 0 for depth in order.depths]
                voxels, step, first = coarsen(voxels, shifts)
                order = coarsen_order(order, voxels.coords[:, 0], shifts, first)
                steps.append(step)
            if scene.shuffles is not None:
                order = order.permuted(scene.shuffles[s])
            levels.append(make_level(voxels, order, self._used(s), patch_size, shared))
        return Plan(rows, stem, levels, steps, scene.condition)

    def _used(self, stage: int) -> set[int]:
        """Curves that the blocks of a stage attend along, by their index."""
        stages: list[Any] = [self.enc[f"enc{stage}"]]
        if not self.enc_mode and f"dec{stage}" in self.dec:
            stages.append(self.dec[f"dec{stage}"])
        return {block.attn.order_index for stage in stages for block in stage.blocks()}

    def forward(self, features: Tensor, plan: Plan, context: Tensor | None = None) -> Tensor:
        """(V, in_channels) to (V, C), in the scene's order. ``context`` (1, C) is for adaptive norms."""
        prompt = Prompt(plan.condition, context)
        stages = self.encode(features, plan, prompt)
        out = concatenated(stages, plan.steps) if self.enc_mode else self.decode(stages, plan, prompt)
        return torch.empty_like(out).index_copy_(0, plan.rows, out)

    def encode(self, features: Tensor, plan: Plan, prompt: Prompt) -> list[Tensor]:
        """The features of every stage, from fine to coarse, in the order of the plan's levels."""
        x = self.embedding(features.index_select(0, plan.rows), plan.stem, prompt)
        stages: list[Tensor] = []
        for s, level in enumerate(plan.levels):
            stage: Any = self.enc[f"enc{s}"]
            if s:
                x = stage["down"](x, plan.steps[s - 1], prompt)
            x = stage(x, x, level, prompt)
            stages.append(x)
        return stages

    def decode(self, stages: list[Tensor], plan: Plan, prompt: Prompt) -> Tensor:
        """Features of the finest level, in its order, from those of every stage."""
        x = stages[-1]
        for s in reversed(range(len(plan.steps))):
            stage: Any = self.dec[f"dec{s}"]
            # the first positional convolution reads the encoder's part alone, as weights were trained
            x, skip = stage["up"](x, stages[s], plan.steps[s], prompt)
            x = stage(x, skip, plan.levels[s], prompt)
        return x


class Stage(nn.ModuleDict):
    """The blocks of a level, and the step that leads there."""

    def blocks(self) -> list[Any]:
        """Without the step."""
        return [module for name, module in self.items() if name.startswith("block")]

    def forward(self, x: Tensor, positional: Tensor, level: Level, prompt: Prompt) -> Tensor:  # (V, C) -> (V, C)
        for block in self.blocks():
            x, positional = block(x, positional, level, prompt)
        return x


def concatenated(stages: list[Tensor], steps: list[Step]) -> Tensor:
    """(V, sum of widths): the features of every stage side by side on the finest level, the finest first."""
    x = stages[-1]
    for stage, step in zip(stages[-2::-1], steps[::-1], strict=True):
        x = torch.cat([stage, x.index_select(0, step.parent)], 1)
    return x


def _check_lengths(num_stages: int, lists: dict[str, Sequence[Any]]) -> None:
    for name, values in lists.items():
        if len(values) != num_stages:
            raise ValueError(f"{name} must have {num_stages} values for these stages, got {len(values)}")
