"""Colors of features: their first three principal components, computed on the device that the features are on."""

import torch
from torch import Tensor

from app.clouds.principal import HIGH_PERCENT, LOW_PERCENT, SAMPLED_VALUES, principal_axes


def principal_colors(values: Tensor) -> Tensor:
    """As ``app.clouds.principal.principal_colors``, of float32 (N, C); uint8 (N, 3), but for rounding."""
    colors = values.new_zeros((len(values), 3), dtype=torch.uint8)
    if not values.numel():
        return colors
    sample = values[:: max(1, values.numel() // SAMPLED_VALUES)].double()
    mean = sample.mean(0)
    sample -= mean
    axes = torch.from_numpy(principal_axes((sample.T @ sample).cpu().numpy())).to(values.device)
    percents = sample.new_tensor([LOW_PERCENT, HIGH_PERCENT])
    low, high = (sample @ axes).quantile(percents / 100, dim=0)
    span = torch.where(high > low, high - low, 1)
    shares = ((values @ axes.float()).double() - mean @ axes - low) / span
    colors[:, : axes.shape[1]] = (255 * shares.clamp_(0, 1)).round_()
    return colors
