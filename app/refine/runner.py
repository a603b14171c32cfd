"""Runs the steps that were asked for, and counts what each changed."""

import torch
from torch import Tensor

from app.clouds.cloud import RefinedStep
from app.options import Options

from .scene import Scene
from .steps import wanted


@torch.inference_mode()
def refine(scene: Scene, options: Options) -> list[RefinedStep]:
    """Apply to ``scene`` every step that ``options`` ask for; what each did, in their order.

    A point has changed if its label has, unless the step counts by itself; context is not counted.
    """
    steps = wanted(options)
    changed: list[Tensor] = []
    for step in steps:
        scene.check_cancelled()
        before = scene.answered
        counted = step.load()(scene, options)
        changed.append((scene.answered != before).sum() if counted is None else counted)
    counts = torch.stack(changed).tolist() if changed else []  # waits for the device, once
    return [RefinedStep(step.name, count) for step, count in zip(steps, counts, strict=True)]
