"""Runs the steps that were asked for, and counts what each changed."""

import torch
from torch import Tensor

from app.clouds.cloud import RefinedStep
from app.options import Options

from .scene import Scene
from .steps import wanted


@torch.inference_mode()
def refine(scene: Scene, options: Options) -> list[RefinedStep]:
    """Apply to ``scene`` every step that ``options`` ask for; what each did that is there to change labels, in order.

    A point has changed if its label has, unless the step counts by itself; context is not counted.
    """
    changed: dict[str, Tensor] = {}
    for step in wanted(options):
        scene.check_cancelled()
        before = scene.answered
        counted = step.load()(scene, options)
        if step.labels:
            changed[step.name] = (scene.answered != before).sum() if counted is None else counted
    counts = torch.stack([*changed.values()]).tolist() if changed else []  # waits for the device, once
    return [RefinedStep(name, count) for name, count in zip(changed, counts, strict=True)]
