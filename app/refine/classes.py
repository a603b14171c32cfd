"""``classes``: the codes of the model's classes, as the request says them."""

import torch
from torch import Tensor

from app.options import Options

from .scene import Scene


def apply(scene: Scene, options: Options) -> Tensor:
    """Give the model's classes the codes that the request states; how many points have another code then."""
    changed = scene.answered.new_tensor(scene.classes.recode())
    return torch.isin(scene.answered, changed).sum()
