"""``min_confidence`` and ``max_entropy``: points whose class is in doubt become unclassified."""

import torch
from torch import Tensor

from app.clouds.asprs import UNCLASSIFIED
from app.options import Options

from .scene import Scene


def apply(scene: Scene, options: Options) -> None:
    """Label points unclassified (code 1) whose probabilities are less sure than the options ask for.

    Models whose classes have no codes have no such class: these points get the ignore label, with a warning.
    """
    shares = scene.probabilities
    is_doubtful = torch.zeros(len(shares), dtype=torch.bool, device=shares.device)
    if options.min_confidence is not None:
        is_doubtful |= ~(shares.amax(1) >= options.min_confidence)  # NaN is in doubt
    if options.max_entropy is not None:
        is_doubtful |= ~(entropy(shares) <= options.max_entropy)
    if scene.classes.have_codes:
        label = scene.classes.id_of(UNCLASSIFIED)
    else:
        label = scene.ignore_label
        scene.warnings.append(
            f"The model's classes have no codes, so what is in doubt has the ignore label {label} instead of class 1."
        )
    scene.labels = scene.labels.masked_fill(is_doubtful.index_select(0, scene.rows), label)


def entropy(probabilities: Tensor) -> Tensor:
    """float32 (R,), in nats, of ``probabilities`` (R, C)."""
    return probabilities.clamp(min=1e-30).log_().mul_(probabilities).sum(1).neg_()
