"""One request on its way through the service."""

from dataclasses import dataclass

from app.engine.deadline import Deadline
from app.engine.model_card import ModelCard
from app.engine.request_memory import RequestMemory
from app.options import Options


@dataclass(frozen=True)
class Request:
    """What every step of a request needs to know.

    Attributes:
        options: with the model and the passes that it gets if it states none.
        card: the model.
        deadline: of the whole request.
        memory: what it reserves.
        id: in logs and answers.
        background_s: as in ``CloudJob``.
    """

    options: Options
    card: ModelCard
    deadline: Deadline
    memory: RequestMemory
    id: str = ""
    background_s: float = 0.0

    @property
    def is_background(self) -> bool:
        """Whether nobody waits for it at the moment, as for a tile of a job."""
        return self.background_s > 0
