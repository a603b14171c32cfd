"""GET /v2…: metadata, health and statistics of the server and its models by the Open Inference protocol."""

from contextlib import suppress
from typing import Annotated, Any

from apiflask import APIBlueprint
from flask import current_app
from pydantic import Field
from typing_extensions import NotRequired, TypedDict

from app.clouds.fields import FEATURES, FIELDS, LABELS, OutputField
from app.engine.model_card import ModelCard
from app.engine.model_choice import card_of
from app.errors import BadRequest, NotFound, Problem, quoted
from app.http.health import check_alive, check_ready
from app.http.openapi import responses
from app.http.state import state
from app.http.statistics import ModelReport
from app.http.v2.tensors import DATATYPES, DEFAULT_OUTPUTS, FILE, INPUTS, OUTPUTS
from app.options import Options

VERSION = "1"
PLATFORM = "pointserve"
EXTENSIONS = ["binary_tensor_data", "model_repository", "model_configuration", "statistics"]

blueprint = APIBlueprint("v2", __name__, url_prefix="/v2")


class ServerMetadata(TypedDict):
    """Name, version and extensions of the server."""

    name: str
    version: str
    extensions: list[str]


class ServerLive(TypedDict):
    """The process answers."""

    live: bool


class ServerReady(TypedDict):
    """Predictions can be made."""

    ready: bool


class ModelReady(TypedDict):
    """The model can be asked."""

    name: str
    ready: bool


class TensorMetadata(TypedDict):
    """An input or output of a model."""

    name: str
    datatype: str
    shape: Annotated[list[int], Field(description="-1 for the number of points.")]


class ModelMetadata(TypedDict):
    """Inputs and outputs of a model."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class TensorConfig(TypedDict):
    """An input or output in a model's configuration."""

    name: str
    data_type: str
    dims: list[int]
    optional: NotRequired[bool]


class ModelConfig(TypedDict):
    """Configuration of a model: types, sizes, classes."""

    name: str
    platform: str
    backend: str
    version_policy: dict[str, dict[str, int]]
    max_batch_size: int
    input: list[TensorConfig]
    output: list[TensorConfig]
    parameters: dict[str, dict[str, str]]


class StatisticsReport(TypedDict):
    """Requests of models and the time that they took."""

    model_stats: list[ModelReport]


@blueprint.get("", strict_slashes=False)
@blueprint.doc(responses=responses(ServerMetadata, 401))
def server() -> ServerMetadata:
    """Name, version and extensions of the server"""
    return {"name": PLATFORM, "version": current_app.version, "extensions": EXTENSIONS}  # type: ignore[attr-defined]


@blueprint.get("/health/live")
@blueprint.doc(responses=responses(ServerLive, 401, 503))
def live() -> ServerLive:
    """200 as long as the process answers, 503 if only a restart helps"""
    check_alive()
    return {"live": True}


@blueprint.get("/health/ready")
@blueprint.doc(responses=responses(ServerReady, 401, 503))
def ready() -> ServerReady:
    """200 if predictions can be made, else 503"""
    check_ready()
    return {"ready": True}


@blueprint.get("/models/<name>")
@blueprint.doc(responses=responses(ModelMetadata, 400, 401, 404))
def metadata(name: str) -> ModelMetadata:
    """Inputs and outputs of a model"""
    card = served(name)
    inputs: list[TensorMetadata] = [
        {"name": input_name, "datatype": spec.datatypes[0], "shape": spec.shape} for input_name, spec in INPUTS.items()
    ]
    return {
        "name": card.name,
        "versions": [VERSION],
        "platform": PLATFORM,
        "inputs": [*inputs, {"name": FILE, "datatype": "BYTES", "shape": [1]}],
        "outputs": [
            {"name": field.array_name, "datatype": DATATYPES[field.dtype], "shape": _shape(field, card)}
            for field in _listed(card)
        ],
    }


@blueprint.get("/models/<name>/ready")
@blueprint.doc(responses=responses(ModelReady, 400, 401, 404, 503))
def model_ready(name: str) -> ModelReady:
    """200 if the model can be asked"""
    served(name)
    check_ready()
    return {"name": name, "ready": True}


@blueprint.get("/models/<name>/config")
@blueprint.doc(responses=responses(ModelConfig, 400, 401, 404))
def config(name: str) -> ModelConfig:
    """Configuration of a model: types, sizes, classes"""
    card, settings = served(name), state().settings
    inputs: list[TensorConfig] = [
        # coord is optional if there is a file
        {"name": input_name, "data_type": f"TYPE_{spec.datatypes[0]}", "dims": spec.shape, "optional": True}
        for input_name, spec in INPUTS.items()
    ]
    return {
        "name": card.name,
        "platform": PLATFORM,
        "backend": PLATFORM,
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": 0,
        "input": [*inputs, {"name": FILE, "data_type": "TYPE_STRING", "dims": [1], "optional": True}],
        "output": [
            {"name": field.array_name, "data_type": f"TYPE_{DATATYPES[field.dtype]}", "dims": _shape(field, card)}
            for field in _listed(card)
        ],
        "parameters": {
            "classes": {"string_value": ", ".join(str(info["name"]) for info in card.classes)},
            "batch_requests": {"string_value": str(settings.batch_requests)},
            "batch_voxels": {"string_value": str(settings.batch_voxels)},
            "max_points": {"string_value": str(settings.max_points)},
        },
    }


@blueprint.get("/models/<name>/stats")
@blueprint.doc(responses=responses(StatisticsReport, 400, 401, 404))
def model_stats(name: str) -> StatisticsReport:
    """Requests of one model and the time that they took, since the start"""
    return {"model_stats": [state().measures.of_model(served(name).name)]}


@blueprint.get("/models/stats")
@blueprint.doc(responses=responses(StatisticsReport, 401))
def stats() -> StatisticsReport:
    """Requests of every model and the time that they took, since the start"""
    names = [card.name for card in state().service.models() if card.served]
    return {"model_stats": [state().measures.of_model(name) for name in names]}


for _view, _suffix in ((metadata, ""), (model_ready, "/ready"), (config, "/config"), (model_stats, "/stats")):

    def _of_version(name: str, version: str, view: Any = _view) -> Any:
        check_version(version)
        return view(name)

    blueprint.add_url_rule(
        f"/models/<name>/versions/<version>{_suffix}",
        f"{_view.__name__}_of_version",
        blueprint.doc(hide=True)(_of_version),
    )


def check_version(version: str) -> None:
    """Raise NotFound unless it is the one that every model has."""
    if version != VERSION:
        raise NotFound(f"There is no version {quoted(version)}; a model here has the version {VERSION}.")


def served(name: str) -> ModelCard:
    """The card of a model that is served, or of several as one; raises NotFound for any other, BadRequest for several
    that cannot be one."""
    try:
        return card_of(name, state().service.models())
    except BadRequest:
        raise
    except Problem as problem:
        raise NotFound(problem.detail) from None


def name_served(name: str) -> str:
    """The name under which the model ``name`` is counted; empty if there is none that can be asked."""
    found = _found(name)
    return found.name if found else ""


def default_outputs(name: str) -> list[str]:
    """Outputs of a request that names none: features of a model without classes, else labels and how sure they are."""
    found = _found(name)
    return ["features"] if found and not found.num_classes else list(DEFAULT_OUTPUTS)


def possible_outputs(name: str) -> list[str]:
    """Outputs that a request to the model can name; all that there are if it is not served."""
    card = _found(name)
    return list(OUTPUTS) if card is None else [field.array_name for field in _given(card)]


def _found(name: str) -> ModelCard | None:
    with suppress(Problem):
        return served(name)
    return None


def _given(card: ModelCard) -> list[OutputField]:
    """Outputs that the model gives."""
    return [LABELS] * (card.num_classes > 0) + [FIELDS[name] for name in card.fields]


def _listed(card: ModelCard) -> list[OutputField]:
    """Outputs as the metadata list them: those of one pass, so that clients can ask for all of them at once."""
    sources = Options().mode.sources
    given = [field for field in _given(card) if field.source in sources]
    return [field for field in given if (field.source == FEATURES) == (not card.num_classes)]


def _shape(field: OutputField, card: ModelCard) -> list[int]:
    return [-1, *field.row_shape(card.num_classes, -1)]
