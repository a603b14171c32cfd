"""Messages between the web processes of one service: the owner of the queue, and the fronts, which take predictions.

They are sent as those of ``app.engine.protocol``. A front sends clouds and gets what engines made of them; beside that
either side asks the other by name.
"""

from dataclasses import dataclass, field
from typing import Any

from app.clouds.cloud import SegmentationMeta
from app.engine.model_card import ModelCard
from app.engine.protocol import ArraySpec, CloudMeta, Failure
from app.engine.status import EngineState, EngineStatus
from app.options import Options


@dataclass(frozen=True)
class ConfigureFront:
    """Owner to front, its first message: all settings, with its part of the readers, and the memory that one file may
    take in them. It is number ``place`` of ``num_processes``. Answer: ``FrontReady``."""

    settings: dict[str, Any]
    reader_mib: int
    num_processes: int
    place: int


@dataclass(frozen=True)
class FrontReady:
    """Front to owner: it takes connections."""


@dataclass(frozen=True)
class Submit:
    """Front to owner, one descriptor: a cloud for the queue, as ``Scheduler.submit`` takes it.

    Answer: ``Outcome`` with one descriptor, or ``Failure``, at any time.
    """

    job_id: str
    options: Options
    layout: list[ArraySpec]
    meta: CloudMeta
    deadline_s: float
    shares: bool
    need_bytes: int


@dataclass(frozen=True)
class Abandon:
    """Front to owner: nobody waits for this cloud any more. There is no answer to either."""

    job_id: str


@dataclass(frozen=True)
class Outcome:
    """Owner to front: the segmentation of a cloud, which had waited for an engine for ``waited_s``."""

    job_id: str
    layout: list[ArraySpec]
    meta: SegmentationMeta
    num_voxels: int
    batch_size: int
    waited_s: float


@dataclass(frozen=True)
class Ask:
    """Either to the other: a question, with its number and what it is about. Answer: ``Told``."""

    number: int
    what: str
    argument: str = ""


@dataclass(frozen=True)
class Told:
    """The answer to the ``Ask`` of this number: a value as JSON has it, or a problem."""

    number: int
    value: Any = None
    failure: Failure | None = None


@dataclass(frozen=True)
class Leave:
    """Owner to front: end when every request is answered; connections without one are closed after ``patience_s``."""

    patience_s: float


@dataclass(frozen=True)
class MakeRoom:
    """Owner to front: close connections that have not asked for anything; new ones wait."""


@dataclass(frozen=True)
class View:
    """What a front knows of models and engines, until ``Shared.VIEW`` is another: the answer to ``Ask("view")``."""

    state: EngineState
    engines: list[EngineStatus] = field(default_factory=list)
    models: list[ModelCard] = field(default_factory=list)
    resumes_in_s: float = 0.0
