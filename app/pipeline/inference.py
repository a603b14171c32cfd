"""A network that runs on its device: plans, logits, features, instances."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from app.clouds.fields import CLASSES, FEATURES, Source
from app.errors import BadModel
from app.networks.fold import fold
from app.networks.instances import Instances
from app.networks.precision import PRECISIONS, in_precision
from app.networks.voxel_batch import VoxelBatch

from .run_context import RunContext
from .turns import TURNS

OVERFLOW = "Half precision overflowed; the network ran in float32."

Answer = TypeVar("Answer")


def joined(parts: Sequence[Tensor]) -> Tensor:
    """The rows of all ``parts``; no copy of a single one."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def energy(logits: Tensor) -> Tensor:
    """float32 (V,), the free energy of ``logits`` (V, num_classes); the higher, the less a voxel is like those that the
    network was trained with (Liu et al. 2020, Energy-based out-of-distribution detection)."""
    return logits.logsumexp(1).neg_()


def _beside(logits: Tensor, others: list[Tensor]) -> Tensor:
    """Probabilities (V, num_classes) and the columns of ``others`` behind them."""
    shares = logits.softmax(1)
    return torch.cat([shares, *others], 1) if others else shares


class Inference:
    """A network, folded for inference, on one device, where its tensors are, those given and those returned.

    Args:
        network: has ``plan(batch)``, ``forward(features, plan)`` and ``plans_positions``; its weights are loaded.
        num_classes: width that its logits must have.
        device: a torch device.
        condition: the dataset whose norms and classes a network with several is to use.
        precision: a key of PRECISIONS, of another dtype than float32 only if the network ``supports_half_precision``.
    """

    def __init__(
        self,
        network: nn.Module,
        num_classes: int,
        device: str,
        condition: str | None = None,
        precision: str = "fp32",
    ):
        self.exact: Any = fold(network.to(device).eval())
        self.precision = precision
        self.dtype = PRECISIONS[precision].dtype
        self.network: Any = in_precision(self.exact, PRECISIONS[precision])
        self.num_classes = num_classes
        self.condition = condition
        self.device = torch.device(device)

    def for_condition(self, condition: str, num_classes: int) -> "Inference":
        """This network, answering for another dataset."""
        twin = copy.copy(self)
        twin.condition, twin.num_classes = condition, num_classes
        return twin

    def in_range(self, answer: Callable[["Inference"], Answer], run: RunContext) -> Answer:
        """The result of ``answer`` for this network, or for a copy in float32 if half precision overflows in it.

        It is asked once, after all passes, so that the device need not be waited for after each.
        """
        out = answer(self)
        if run.checks_passed():
            return out
        run.forget_checks()
        if OVERFLOW not in run.warnings:
            run.warnings.append(OVERFLOW)
        twin = copy.copy(self)
        twin.network, twin.dtype = self.exact, torch.float32
        return answer(twin)

    @property
    def finds_instances(self) -> bool:
        """Whether ``instances`` may be called, and ``outputs`` for INSTANCES."""
        return self.network.finds_instances

    @property
    def gives_features(self) -> bool:
        """Whether ``outputs`` may be called for FEATURES."""
        return self.network.gives_features

    @property
    def plans_positions(self) -> bool:
        """Whether clouds with equal voxels but other positions within them need plans of their own."""
        return self.network.plans_positions

    @torch.inference_mode()
    def plan(self, clouds: Sequence[tuple[Tensor, Tensor]], run: RunContext) -> Any:
        """The network's plan for a batch of ``clouds``, each its voxels int64 (V, 3) and positions float32 (V, 3)."""
        with run.stage("plan"):
            voxels = joined(
                [functional.pad(grid_coord, (1, 0), value=number) for number, (grid_coord, _) in enumerate(clouds)]
            )
            coord = joined([coord for _, coord in clouds])
            return self.network.plan(VoxelBatch(voxels, coord, condition=self.condition))

    @torch.inference_mode()
    def logits(self, feat: Tensor, plan: Any, run: RunContext) -> Tensor:
        """Logits float32 (V, num_classes), of features float32 (V, C) of all voxels of the plan.

        They count only if they are ``in_range``.
        """
        with TURNS.turn(self.device, run):
            return self._checked(self.network(feat.to(self.dtype), plan).float(), run)

    @torch.inference_mode()
    def outputs(self, source: Source, feat: Tensor, plan: Any, run: RunContext, *, with_energy: bool = False) -> Tensor:
        """Probabilities of all voxels of the plan, and beside them what fields of ``source`` are made from.

        float32 (V, num_classes + W), and the energy as a last column ``with_energy``. For INSTANCES, W = 3: offsets in
        metres to the middle of the object. For FEATURES, the features that the network's last layer reads. For CLASSES,
        W = 0.
        They count only if they are ``in_range``.
        """
        if source == CLASSES:
            logits = self.logits(feat, plan, run)
            with run.stage("network"):
                return _beside(logits, [energy(logits)[:, None]] if with_energy else [])
        with TURNS.turn(self.device, run):
            ask = self.network.logits_and_features if source == FEATURES else self.network.logits_and_offsets
            logits, beside = ask(feat.to(self.dtype), plan)
            logits, beside = self._checked(logits.float(), run), self._in_range(beside.float(), run)
            return _beside(logits, [beside, energy(logits)[:, None]] if with_energy else [beside])

    @torch.inference_mode()
    def instances(self, probabilities: Tensor, middles: Tensor) -> Instances:
        """Instances of one cloud from probabilities float32 (V, num_classes) and middles float32 (V, 3) in metres."""
        return self.network.instances(probabilities, middles, [len(middles)])

    def _checked(self, logits: Tensor, run: RunContext) -> Tensor:
        if logits.shape[1] != self.num_classes:
            raise BadModel(f"the network has {logits.shape[1]} outputs, the config {self.num_classes} classes")
        return self._in_range(logits, run)

    def _in_range(self, values: Tensor, run: RunContext) -> Tensor:
        if self.dtype != torch.float32:
            run.note_check(values.isfinite().all())
        return values
