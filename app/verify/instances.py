"""What a case of PointGroup has beside logits: offsets and instances."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from app.networks.pointgroup import PointGroup

from .arrays import different, distance


def wrong(
    network: PointGroup,
    feat: Tensor,
    plan: Any,
    given: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    tolerance: float,
) -> list[str]:
    """Names of the outputs that miss those of the case; offsets in voxels, as the groups are made of them."""
    logits, offsets = network.logits_and_offsets(feat, plan)
    middles = torch.from_numpy(given["coord"]).to(offsets) + offsets
    found = network.instances(logits.softmax(1), middles, np.diff(given["offset"], prepend=0).tolist())
    names = different(
        {
            "pred_masks_packed": np.packbits(found.of_voxel.numpy() == np.arange(len(found.classes))[:, None], axis=1),
            "pred_classes": found.classes.numpy(),
            "pred_scores": found.scores.numpy(),
        },
        expected,
    )
    far = distance(offsets.cpu().numpy(), expected["bias_pred"]) / network.voxel_size > tolerance
    return ["bias_pred", *names] if far else names
