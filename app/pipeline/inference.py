"""A network at work on its device."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from app.errors import BadModel
from app.networks.fold import fold
from app.networks.scene import Scene

from .run import Run


class Inference:
    """A network, folded for inference, on one device.

    Args:
        network: has ``plan(scene)``, ``forward(features, plan)`` and ``plans_positions``; its weights are loaded.
        num_classes: width that its logits must have.
        device: a torch device.
    """

    def __init__(self, network: nn.Module, num_classes: int, device: str):
        self.network: Any = fold(network.to(device).eval())
        self.num_classes = num_classes
        self.device = torch.device(device)

    @property
    def plans_positions(self) -> bool:
        """Whether clouds with equal voxels but other positions within them need plans of their own."""
        return self.network.plans_positions

    @torch.inference_mode()
    def plan(self, clouds: Sequence[tuple[np.ndarray, np.ndarray]], run: Run) -> Any:
        """The network's plan for a batch of ``clouds``, each its voxels int64 (V, 3) and positions float32 (V, 3)."""
        with run.stage("plan"):
            voxels = np.concatenate(
                [np.insert(grid_coord, 0, number, axis=1) for number, (grid_coord, _) in enumerate(clouds)]
            )
            coord = np.concatenate([coord for _, coord in clouds])
            return self.network.plan(Scene(self._there(voxels), self._there(coord)))

    @torch.inference_mode()
    def logits(self, feat: np.ndarray, plan: Any, run: Run) -> Tensor:
        """Logits float32 (V, num_classes) on the device, of features float32 (V, C) of all voxels of the plan."""
        with run.stage("network"):
            logits = self.network(self._there(feat), plan).float()
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
        if logits.shape[1] != self.num_classes:
            raise BadModel(f"the network has {logits.shape[1]} outputs, the config {self.num_classes} classes")
        return logits

    def _there(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self.device)
