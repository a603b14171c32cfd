"""Client of pointserve: a point cloud goes out over HTTP, a class for every point comes back."""

from pointserve_client.answer import Answer, LabelClass, OnReceived, Prediction, PredictionWarning, RefinedStep
from pointserve_client.client import AsyncClient, Client
from pointserve_client.errors import (
    BadAddress,
    BadRequest,
    Busy,
    Conflict,
    DeadlineExceeded,
    Forbidden,
    NoRoom,
    NotFound,
    NotOffered,
    NotReady,
    Problem,
    TooLarge,
    Unauthorized,
    Unprocessable,
    Unreached,
    UnsupportedFormat,
)
from pointserve_client.options import Options, Output
from pointserve_client.upload import OnSent, Source
from pointserve_client.waits import PATIENCE_S, OnWait, patience_for

__all__ = [
    "PATIENCE_S",
    "Answer",
    "AsyncClient",
    "BadAddress",
    "BadRequest",
    "Busy",
    "Client",
    "Conflict",
    "DeadlineExceeded",
    "Forbidden",
    "LabelClass",
    "NoRoom",
    "NotFound",
    "NotOffered",
    "NotReady",
    "OnReceived",
    "OnSent",
    "OnWait",
    "Options",
    "Output",
    "Prediction",
    "PredictionWarning",
    "Problem",
    "RefinedStep",
    "Source",
    "TooLarge",
    "Unauthorized",
    "Unprocessable",
    "Unreached",
    "UnsupportedFormat",
    "patience_for",
]
