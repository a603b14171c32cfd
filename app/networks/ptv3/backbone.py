"""PT-v3m1, Point Transformer V3: inference only, with Pointcept's parameter names."""

from collections.abc import Sequence
from functools import partial

from torch import nn

from app.networks.layer_norm import LayerNorm

from .attention import SerializedAttention
from .block import SerializedBlock
from .geometry import Clouds
from .hierarchy import Hierarchy
from .norm import Norm, PDNorm
from .pooling import Embedding


class PointTransformerV3(Hierarchy):
    """Pointcept's ``PT-v3m1``. Arguments are those of its config; dropout and shuffling act in training only.

    ``enc_mode`` (once ``cls_mode``) leaves out the decoder; the features of every stage then stand side by side, the
    finest first. ``legacy_blocks`` is for weights trained before Pointcept v1.5.2: a block's positional convolution
    reads the output of the MLP before it, without the shortcut.
    """

    reads_context = True
    decodes_skip = True  # as weights were trained
    shares_orders = True

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
        super().__init__(
            order,
            stride,
            enc_mode or cls_mode,
            {
                "enc_depths": enc_depths,
                "enc_channels": enc_channels,
                "enc_num_head": enc_num_head,
                "enc_patch_size": enc_patch_size,
            },
            {
                "dec_depths": dec_depths,
                "dec_channels": dec_channels,
                "dec_num_head": dec_num_head,
                "dec_patch_size": dec_patch_size,
            },
        )
        self.shares_patches = not enable_flash
        if (pdnorm_bn or pdnorm_ln) and not pdnorm_decouple:
            raise ValueError("pdnorm_decouple=False is not served; accepted is True, one norm a dataset")
        if enable_rpe and enable_flash:
            raise ValueError("enable_rpe=True and enable_flash=True exclude each other; accepted is one of them")
        batch_norm: Norm = partial(nn.BatchNorm1d, eps=1e-3, momentum=0.01)
        layer_norm: Norm = LayerNorm
        by_dataset = partial(PDNorm, conditions=pdnorm_conditions, adaptive=pdnorm_adaptive)
        if pdnorm_bn:
            plain = partial(nn.BatchNorm1d, eps=1e-3, momentum=0.01, affine=pdnorm_affine)
            batch_norm = partial(by_dataset, norm_layer=plain)
        if pdnorm_ln:
            layer_norm = partial(by_dataset, norm_layer=partial(LayerNorm, elementwise_affine=pdnorm_affine))

        def blocks(depth: int, channels: int, heads: int, patch: int) -> list[nn.Module]:
            return [
                SerializedBlock(
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

        self.assemble(
            Embedding(in_channels, enc_channels[0], batch_norm),
            batch_norm,
            enc_channels,
            list(map(blocks, enc_depths, enc_channels, enc_num_head, enc_patch_size)),
            dec_channels,
            [] if self.enc_mode else list(map(blocks, dec_depths, dec_channels, dec_num_head, dec_patch_size)),
        )

    def shifts(self, clouds: Clouds) -> list[list[int]]:
        """For every coarser stage and cloud, how often the finest voxels' edges are doubled: not beyond its depth."""
        left, totals = list(clouds.depths()), [[0] * len(clouds.ends)]
        for stride in self.stride:
            shift = stride.bit_length() - 1
            steps = [shift if shift <= depth else 0 for depth in left]
            left = [depth - step for depth, step in zip(left, steps, strict=True)]
            totals.append([total + step for total, step in zip(totals[-1], steps, strict=True)])
        return totals[1:]
