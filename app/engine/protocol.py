"""Every message that crosses a process boundary, field by field.

Messages are JSON, small, and sent over a socket pair (``app.engine.channel``); arrays and file bodies stay in
anonymous memory files whose descriptors travel beside the message (``app.engine.arrays``). A process that decodes
hostile files can therefore send its parent nothing but numbers and text.
"""

from dataclasses import dataclass, field

from app.clouds.cloud import Bounds, SegmentationMeta
from app.clouds.strips import Window
from app.clouds.summary import Summary
from app.clouds.units import Units
from app.engine.model_card import ModelCard
from app.errors import PROBLEMS, Problem
from app.options import Options
from app.settings import EngineSettings


@dataclass(frozen=True)
class ArraySpec:
    """Place and type of one array in a memory file: numpy's ``dtype.str``, shape, offset in bytes; C order."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int


@dataclass(frozen=True)
class CloudMeta:
    """What a Cloud holds beside its arrays."""

    format: str
    intensity_scale: float | None = None
    warnings: list[str] = field(default_factory=list)
    columns: dict[str, list[str]] = field(default_factory=dict)
    units: Units | None = None
    num_context: int = 0
    uncolored: list[tuple[int, int]] = field(default_factory=list)
    frame: Bounds | None = None


@dataclass(frozen=True)
class Idle:
    """Reader to parent: it can take a request. It has started, or given back what it held of the last one.

    ``resident_bytes`` is the memory that it holds, ``cpu_s`` are the seconds that it has computed so far.
    """

    resident_bytes: int
    cpu_s: float


@dataclass(frozen=True)
class Border:
    """What ring is cut of a tile: arguments of ``strips.ring``."""

    bounds: Bounds
    width_m: float
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Decode:
    """Parent to reader, one descriptor: the file. Answer: ``Decoded``, ``MemoryNeeded``, ``Failure``.

    ``keep`` are the columns wanted beside those with a meaning, None for all, as ``formats.read`` says for the output
    of the options. ``max_bytes`` is what the reader may take in memory, cloud included, 0 for what it needs. With
    ``border`` the ring of the cloud is cut, too.
    """

    options: Options
    max_points: int
    keep: tuple[str, ...] | None = None
    max_bytes: int = 0
    border: Border | None = None


@dataclass(frozen=True)
class MemoryNeeded:
    """Reader to parent: nothing was done, because it would take more memory than ``max_bytes``.

    ``work_bytes`` are those of the reader at its highest, ``result_bytes`` those of what it would send.
    """

    num_points: int
    work_bytes: int
    result_bytes: int


@dataclass(frozen=True)
class CloudFile:
    """A cloud whose arrays are in a memory file, which travels beside the message: their ``layout``, and the rest."""

    layout: list[ArraySpec]
    meta: CloudMeta


@dataclass(frozen=True)
class Decoded:
    """Reader to parent, one descriptor: the cloud's arrays in ``layout``; ``meta`` is the rest of the Cloud. A second
    one if its ``ring`` was asked for."""

    num_points: int
    layout: list[ArraySpec]
    meta: CloudMeta
    ring: CloudFile | None = None


@dataclass(frozen=True)
class Join:
    """Parent to reader: put what ``rings`` have around a tile behind it. Descriptors: the tile, and each ring. Answer:
    ``Decoded``, ``Failure``. The others are arguments of ``strips.joined`` and ``strips.taken``."""

    cloud: CloudFile
    rings: list[CloudFile]
    inners: list[Window | None]
    bounds: Bounds
    buffer_m: float
    columns: tuple[str, ...]
    frame: Bounds | None = None


@dataclass(frozen=True)
class Encode:
    """Parent to reader: write the answer. Descriptors: the cloud's arrays, the segmentation's arrays, with
    ``has_source`` the file that came in, whose content the output keeps, and with ``has_target`` the file that the
    answer goes into. Answer: ``Encoded``, with one descriptor if there is no target, ``MemoryNeeded``, or ``Failure``.
    ``max_bytes`` is as in ``Decode``. With ``sums_up`` the answer says what is in it.
    """

    output: str
    cloud_layout: list[ArraySpec]
    cloud_meta: CloudMeta
    layout: list[ArraySpec]
    meta: SegmentationMeta
    max_bytes: int = 0
    has_source: bool = False
    has_target: bool = False
    sums_up: bool = False


@dataclass(frozen=True)
class Encoded:
    """Reader to parent: the finished file of ``size`` bytes, in a descriptor or in the target; ``warnings`` with the
    writer's own. ``errno`` says why the target could not be written, 0 if it was. ``sha256`` and ``summary`` of the
    answer are there if it was to be summed up."""

    size: int
    media_type: str
    extension: str
    warnings: list[str]
    errno: int = 0
    sha256: str = ""
    summary: Summary | None = None


@dataclass(frozen=True)
class Configure:
    """Parent to engine, its first message: the settings of this engine. Answer: ``Ready``, or ``Failure``.

    ``pass_bytes`` are what a pass and the model may take of the machine's memory on the CPU, 0 if it is not limited;
    ``unloaded`` names models that are not to be loaded now.
    """

    settings: EngineSettings
    pass_bytes: int = 0
    unloaded: tuple[str, ...] = ()


@dataclass(frozen=True)
class Segment:
    """One cloud of a ``Batch``. Answer: ``Segmented`` with one descriptor, or ``Failure``."""

    job_id: str
    options: Options
    layout: list[ArraySpec]
    meta: CloudMeta
    deadline_unix_s: float


@dataclass(frozen=True)
class Batch:
    """Parent to engine, a descriptor for each job: its cloud. Every job is answered on its own, in any order."""

    jobs: list[Segment]


@dataclass(frozen=True)
class Segmented:
    """Engine to parent, one descriptor: the segmentation's arrays in ``layout``; ``meta`` is the rest of it.

    ``batch_size`` clouds went through the network together.
    """

    job_id: str
    layout: list[ArraySpec]
    meta: SegmentationMeta
    num_voxels: int = 0
    batch_size: int = 1


@dataclass(frozen=True)
class LoadModel:
    """Parent to engine: load the model, or load it again. Answer: ``ModelCards``, or ``Failure``."""

    name: str


@dataclass(frozen=True)
class UnloadModel:
    """Parent to engine: give the model's memory back. Answer: ``ModelCards``, or ``Failure``."""

    name: str


@dataclass(frozen=True)
class Failure:
    """A problem on its way to another process, whoever sends it; ``kind`` is the name of its class in ``app.errors``,
    ``job_id`` the cloud that ended in it, if one did."""

    kind: str
    detail: str
    job_id: str = ""
    columns: list[str] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)
    retry_after_s: float | None = None

    @classmethod
    def of(cls, problem: Problem, job_id: str = "") -> "Failure":
        """``problem`` as a message; of a class that is not in ``app.errors``, the next one above it that is."""
        kind = next(kind.__name__ for kind in type(problem).__mro__ if PROBLEMS.get(kind.__name__) is kind)
        return cls(kind, problem.detail, job_id, problem.columns, problem.options, problem.retry_after_s)

    @property
    def problem(self) -> Problem:
        """What this message carries."""
        kind = PROBLEMS.get(self.kind, Problem)
        return kind(self.detail, retry_after_s=self.retry_after_s, columns=self.columns, options=self.options)


@dataclass(frozen=True)
class Ready:
    """Engine to parent, once its models are loaded and warm; ``Failure`` instead if it has nothing to serve.

    For each batch that it takes beside a first one there is a descriptor: a further channel, for ``Batch`` alone.
    """

    device: str
    device_name: str
    threads: int
    models: list[ModelCard]
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ModelCards:
    """Engine to parent: every model after a change."""

    models: list[ModelCard]
