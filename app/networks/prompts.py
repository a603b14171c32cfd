"""Point Prompt Training: one backbone for several datasets, with classes by dataset."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from .batch_invariant_linear import products
from .condition import ConditionPlan, index_of
from .network import Network, Wrapper, output_widths
from .registry import types_with
from .voxel_batch import VoxelBatch

CONDITIONS = ("Structured3D", "ScanNet", "S3DIS")


class PromptTraining(Wrapper):
    """Base of all PPT: a backbone that gets the dataset's name, or a context learnt for it."""

    supports_half_precision = False

    def __init__(
        self,
        backbone: Network,
        backbone_out_channels: int,
        conditions: Sequence[str],
        backbone_mode: bool,
    ):
        super().__init__(backbone, backbone_out_channels)
        self.conditions, self.backbone_mode = tuple(conditions), backbone_mode
        self.out_channels = backbone_out_channels

    def plan(self, batch: VoxelBatch) -> ConditionPlan[Any]:
        """The backbone's plan for the batch's dataset. Raises BadRequest if the network does not know it."""
        condition = index_of(batch.condition, self.conditions)
        return ConditionPlan(self.backbone.plan(replace(batch, condition=self.conditions[condition])), condition)

    def forward(self, features: Tensor, plan: ConditionPlan[Any]) -> Tensor:  # (V, C) -> (V, classes of the dataset)
        features = self.features(features, plan)
        return features if self.backbone_mode else self.logits(features, plan.condition)

    def logits_and_features(self, features: Tensor, plan: ConditionPlan[Any]) -> tuple[Tensor, Tensor]:
        """Logits, and the backbone's features."""
        described = self.features(features, plan)
        return self.logits(described, plan.condition), described

    def features(self, features: Tensor, plan: ConditionPlan[Any]) -> Tensor:
        """The backbone's features, (V, backbone_out_channels)."""
        raise NotImplementedError

    def logits(self, features: Tensor, condition: int) -> Tensor:
        """Logits of a dataset's classes from the backbone's features."""
        raise NotImplementedError


class ContextPromptTraining(PromptTraining):
    """With a context for every dataset, which the norms of the backbone read."""

    def __init__(
        self,
        backbone: Network,
        backbone_out_channels: int,
        context_channels: int,
        conditions: Sequence[str],
        backbone_mode: bool,
    ):
        super().__init__(backbone, backbone_out_channels, conditions, backbone_mode)
        if not backbone.reads_context:
            raise ValueError(f"the backbone reads no context; {', '.join(types_with('reads_context'))} do")
        self.embedding_table = nn.Embedding(len(self.conditions), context_channels)

    def features(self, features: Tensor, plan: ConditionPlan[Any]) -> Tensor:
        """The backbone's features, (V, backbone_out_channels)."""
        context = self.embedding_table.weight[plan.condition, None]  # (1, context_channels)
        return self.backbone(features, plan.geometry, context)


class LanguagePrompts(ContextPromptTraining):
    """Pointcept's ``PPT-v1m1``: classes are known by the text embeddings of their names.

    Args:
        backbone: with norms by dataset.
        class_name: names of all classes.
        valid_index: for every dataset the rows of ``class_name`` that are its classes.
        backbone_out_channels: width of its features.
        context_channels: width of the context of a dataset.
        conditions: names of the datasets.
        template, clip_model: of training; the text embeddings are among the weights.
        backbone_mode: whether to stop at the features.
        embedding_channels: width of a text embedding; read from the weights.
    """

    class_embedding: Tensor

    def __init__(
        self,
        backbone: Network,
        class_name: Sequence[str],
        valid_index: Sequence[Sequence[int]],
        backbone_out_channels: int = 96,
        context_channels: int = 256,
        conditions: Sequence[str] = CONDITIONS,
        template: str = "[x]",
        clip_model: str = "ViT-B/16",
        backbone_mode: bool = False,
        embedding_channels: int = 512,
    ):
        super().__init__(backbone, backbone_out_channels, context_channels, conditions, backbone_mode)
        _check_length("valid_index", valid_index, self.conditions)
        if any(not 0 <= row < len(class_name) for rows in valid_index for row in rows):
            raise ValueError(f"PPT-v1m1: valid_index names a class beyond the {len(class_name)} of class_name")
        self.valid_index = [list(rows) for rows in valid_index]
        if not backbone_mode:
            self.register_buffer("class_embedding", torch.zeros(len(class_name), embedding_channels))
            self.proj_head = nn.Linear(backbone_out_channels, embedding_channels)
            self.logit_scale = nn.Parameter(torch.zeros(()))

    @classmethod
    def arguments_from_weights(cls, weights: Mapping[str, Tensor]) -> dict[str, Any]:
        """The width of the text embeddings, which is that of the head."""
        return _embedding_channels(weights)

    def logits(self, features: Tensor, condition: int) -> Tensor:
        """Cosines between features and the names of the dataset's classes, scaled."""
        return _cosines(self.proj_head(features), self.class_embedding[self.valid_index[condition]], self.logit_scale)


class DecoupledPrompts(ContextPromptTraining):
    """Pointcept's ``PPT-v1m2``: a head for every dataset.

    Args:
        backbone: with norms by dataset.
        backbone_out_channels: width of its features.
        context_channels: width of the context of a dataset.
        conditions: names of the datasets.
        num_classes: classes of every dataset.
        backbone_mode: whether to stop at the features.
    """

    def __init__(
        self,
        backbone: Network,
        backbone_out_channels: int = 96,
        context_channels: int = 256,
        conditions: Sequence[str] = CONDITIONS,
        num_classes: Sequence[int] = (25, 20, 13),
        backbone_mode: bool = False,
    ):
        super().__init__(backbone, backbone_out_channels, context_channels, conditions, backbone_mode)
        _check_length("num_classes", num_classes, self.conditions)
        self.seg_heads = nn.ModuleList(nn.Linear(backbone_out_channels, width) for width in num_classes)

    def logits(self, features: Tensor, condition: int) -> Tensor:
        """Logits of the dataset's own head."""
        return self.seg_heads[condition](features)


class JointLanguagePrompts(PromptTraining):
    """Pointcept's ``PPT-v1m3``: a backbone without norms by dataset, classes by the text embeddings of their names.

    Args:
        backbone: any.
        class_names: names of every dataset's classes.
        backbone_out_channels: width of its features.
        conditions: names of the datasets.
        template, clip_model: of training; the text embeddings are among the weights, as ``class_embeddings``.
        backbone_mode: whether to stop at the features.
        embedding_channels: width of a text embedding; read from the weights.
    """

    class_embeddings: Tensor

    def __init__(
        self,
        backbone: Network,
        class_names: Sequence[Sequence[str]],
        backbone_out_channels: int = 96,
        conditions: Sequence[str] = CONDITIONS,
        template: str = "[x]",
        clip_model: str = "ViT-B/16",
        backbone_mode: bool = False,
        embedding_channels: int = 512,
    ):
        super().__init__(backbone, backbone_out_channels, conditions, backbone_mode)
        _check_length("class_names", class_names, self.conditions)
        self.num_classes = [len(names) for names in class_names]
        if not backbone_mode:
            self.register_buffer("class_embeddings", torch.zeros(sum(self.num_classes), embedding_channels))
            self.proj_head = nn.Linear(backbone_out_channels, embedding_channels)
            self.logit_scale = nn.Parameter(torch.zeros(()))

    def features(self, features: Tensor, plan: ConditionPlan[Any]) -> Tensor:
        """The backbone's features, (V, backbone_out_channels)."""
        return self.backbone(features, plan.geometry)

    @classmethod
    def arguments_from_weights(cls, weights: Mapping[str, Tensor]) -> dict[str, Any]:
        """The width of the text embeddings, which is that of the head."""
        return _embedding_channels(weights)

    def logits(self, features: Tensor, condition: int) -> Tensor:
        """Cosines between features and the names of the dataset's classes, scaled."""
        embeddings = self.class_embeddings.split(self.num_classes)[condition]
        return _cosines(self.proj_head(features), embeddings, self.logit_scale)


def _embedding_channels(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    head = output_widths(weights, "proj_head.weight")
    return {"embedding_channels": head[0]} if head else {}


def _cosines(features: Tensor, embeddings: Tensor, logit_scale: Tensor) -> Tensor:  # (V, E), (K, E) -> (V, K)
    return logit_scale.exp() * products(nn.functional.normalize(features), embeddings)


def _check_length(key: str, values: Sequence[object], conditions: Sequence[str]) -> None:
    if len(values) != len(conditions):
        raise ValueError(f"{key} has {len(values)} entries, conditions {len(conditions)}; both name the same datasets")
