"""What is known of a model without its weights."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from app.clouds.cloud import ClassInfo
from app.clouds.fields import FIELDS, OF_SEVERAL
from app.options import JOINT
from app.refine.legend import check_alike


@dataclass(frozen=True)
class ModelCard:
    """What is known of one model without its weights; what GET /models shows.

    ``vegetation_heights_m`` are those that ``vegetation_heights=model`` takes, none if it states none;
    ``backend`` is native or upstream, ``precision`` that of its passes (fp32, upstream, fp16 or bf16), empty if it is
    not loaded; ``memory_bytes`` are those of its weights, ``bytes_per_voxel`` an estimate of what a pass takes beside
    them;
    ``fields`` are those that a request can ask of it in some mode, empty if it is not loaded; ``shares_passes`` says
    that clouds of several requests go through it together, because their answers do not change; ``columns`` are those
    that it reads beside coordinates and channels, ``num_features`` the width of ``features``, ``tile_voxels`` the
    voxels of its largest pass, ``halo_m`` the metres around a place that its answer there depends on; ``is_unloaded``
    says that it is not served because somebody wanted it so, ``is_refused`` that its files are whole and cannot be
    served as they are; ``remarks`` are what is to be known of its weights, a sentence each.
    """

    name: str
    path: str
    task: str
    backbone: str
    num_classes: int
    classes: list[dict[str, Any]]
    feat_keys: list[str]
    grid_size_m: float | None
    num_parameters: int
    dataset: str | None = None
    served: bool = True
    reason: str = ""
    backend: str = "native"
    vegetation_heights_m: list[float] = field(default_factory=list)
    precision: str = ""
    memory_bytes: int = 0
    bytes_per_voxel: int = 0
    fields: list[str] = field(default_factory=list)
    shares_passes: bool = False
    columns: list[str] = field(default_factory=list)
    num_features: int = 0
    tile_voxels: int = 0
    halo_m: float = 0.0
    is_unloaded: bool = False
    is_refused: bool = False
    remarks: list[str] = field(default_factory=list)

    @property
    def is_joined(self) -> bool:
        """Whether it is of several models as one."""
        return ":" in self.path

    @property
    def class_infos(self) -> list[ClassInfo]:
        """``classes``, as they are elsewhere."""
        return [ClassInfo(each["id"], each["name"], tuple(each["color"]), each["asprs"]) for each in self.classes]

    @classmethod
    def of_several(cls, cards: Sequence["ModelCard"]) -> "ModelCard":
        """The card of the models of ``cards`` as one, which run one after the other; ``path`` is those of all, as
        ``POINTSERVE_MODELS`` joins them. Raises BadRequest if their classes differ."""
        if len(cards) == 1:
            return cards[0]
        check_alike([(card.name, card.class_infos) for card in cards])
        shared = set.intersection(*(set(card.fields) for card in cards))
        return replace(
            cards[0],
            name=JOINT.join(card.name for card in cards),
            path=":".join(card.path for card in cards),
            bytes_per_voxel=max(card.bytes_per_voxel for card in cards),
            shares_passes=False,
            fields=[name for name in cards[0].fields if name in shared and FIELDS[name].source in OF_SEVERAL],
            columns=sorted({column for card in cards for column in card.columns}),
            tile_voxels=max(card.tile_voxels for card in cards),
            halo_m=max(card.halo_m for card in cards),
        )
