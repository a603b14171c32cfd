"""``vegetation_heights``: vegetation becomes low, medium or high by its height above ground."""

from collections.abc import Sequence

import torch
from torch import Tensor

from app.clouds.asprs import VEGETATION
from app.options import Options

from .ground_height import heights_of
from .scene import Scene


def apply(scene: Scene, options: Options) -> None:
    """Give vegetation the class of its layer; where no ground is near it stays as it is."""
    if not scene.classes.ids_of(*VEGETATION):
        scene.warnings.append("vegetation_heights changes nothing: the model has no class of vegetation (3, 4, 5).")
        return
    stated = options.vegetation_heights
    limits_m = stated if isinstance(stated, tuple) else scene.vegetation_heights_m
    layer = by_height(heights_of(scene, options), limits_m)
    is_known = scene.means(*VEGETATION) & (layer >= 0)
    ids = scene.labels.new_tensor([scene.classes.id_of(code) for code in VEGETATION])
    scene.labels = torch.where(is_known, ids[layer.clamp(min=0)], scene.labels)


def by_height(heights_m: Tensor, limits_m: Sequence[float]) -> Tensor:
    """int64 (P,), how many of the ascending ``limits_m`` the heights float32 (P,) reach; -1 where they are NaN."""
    layer = torch.bucketize(heights_m, heights_m.new_tensor(limits_m), right=True)
    return layer.masked_fill_(heights_m.isnan(), -1)
