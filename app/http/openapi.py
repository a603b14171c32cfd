"""The OpenAPI 3.1 description of the service: schemas, parameters and statuses that the views share."""

from http import HTTPStatus
from typing import Annotated, Any, get_args, get_origin

from pydantic import Field, TypeAdapter
from pydantic.json_schema import JsonSchemaMode
from typing_extensions import NotRequired, TypedDict

from app.clouds import fields
from app.clouds.answer import Prediction
from app.clouds.catalog import WRITERS
from app.http.examples import add_examples
from app.http.jobs.description import describe as describe_jobs
from app.http.problem import MEDIA_TYPE, ProblemDetails
from app.http.v2.description import describe
from app.http.v2.request import InferenceRequest
from app.option_text import properties
from app.refine.steps import STEPS

Schema = dict[str, Any]
TEMPLATE = "#/components/schemas/{model}"
Responses = Any  # by status; APIFlask's own type is narrower than what it takes

WHY = {
    400: "No HTTP, an unknown option, a bad value, no file, or a body that was cut short",
    401: "A key is required, and was missing or wrong",
    403: "Not allowed on this server, to a page of another origin, or under this name",
    404: "No such model",
    409: "The job has not ended yet, or a request with the same Idempotency-Key is being received",
    406: "No media type in Accept can be answered",
    408: "The headers or the body arrived too slowly",
    413: "The body or the cloud is over a limit",
    414: "The address with its options is longer than 4094 bytes",
    415: "The bytes are in no known format, or Content-Encoding is neither gzip nor deflate",
    417: "Expect asks for something other than 100-continue",
    422: "The file is broken, ended the process that computes twice, or the model cannot be served",
    429: "The queue is full; see Retry-After",
    431: "The headers are too large",
    501: "A Transfer-Encoding other than chunked, or the object store of jobs cannot sign links",
    503: "No engine can take work at the moment, or no model is loaded",
    504: "The work took longer than allowed",
    507: "The disk is full, jobs take all that they may, or the folder for large bodies is gone",
}
WORDS = "x-enumDescriptions"  # what the values of an enum mean, by value
ANYWHERE = (400, 408, 414, 417, 431, 501, 503)  # before a request reaches its view


def _values(field: fields.OutputField) -> Schema:
    """An array with the values of every point, each a number or a row of numbers."""
    number = {
        "f": {"type": "number"},
        "i": {"type": "integer"},
        "u": {"type": "integer", "minimum": 0, "maximum": 255},
    }[field.kind]
    return {
        "type": "array",
        "items": number if field.width is None else {"type": "array", "items": number},
        "description": f"{field.text}.",
    }


_bodies: dict[str, type] = {}  # seen by ``component``


class PointRows(TypedDict):
    """A cloud as JSON."""

    points: Annotated[list[list[float | None]], Field(description="One row a point: x, y, z and more.")]
    fields: NotRequired[
        Annotated[
            list[str],
            Field(
                description="Names of the columns; by default x, y, z.",
                examples=[["x", "y", "z", "red", "green", "blue"]],
            ),
        ]
    ]


SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key, if the server needs one."},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "A key, in its own header."},
}
DEEP: Schema = {
    "name": "deep",
    "in": "query",
    "description": "1: every operator and the bundled model are run too, and timed",
    "schema": {"type": "string", "enum": ["0", "1"], "default": "0"},
}


def component(kind: type) -> Schema:
    """A pointer to the schema of ``kind``, the dataclass or TypedDict of a body, or of a list of such.

    ``complete`` adds the schema.
    """
    if get_origin(kind) is list:
        return {"type": "array", "items": component(*get_args(kind))}
    _bodies[kind.__name__] = kind
    return {"$ref": TEMPLATE.format(model=kind.__name__)}


def problems(*statuses: int) -> Responses:
    """Responses with the JSON of an error."""
    content = {MEDIA_TYPE: {"schema": component(ProblemDetails)}}
    return {status: {"description": WHY[status], "content": content} for status in statuses}


def responses(kind: type, *statuses: int, same: tuple[int, ...] = ()) -> Responses:
    """A view that answers 200 and ``same`` with the JSON of a ``kind``, and ``statuses`` with an error."""
    content = {"application/json": {"schema": component(kind)}}
    done = {status: {"description": HTTPStatus(status).phrase, "content": content} for status in (200, *same)}
    return {**done, **problems(*statuses)}


def job_responses(kind: type, status: int, *statuses: int) -> Responses:
    """A view that answers ``status`` with the JSON of a ``kind``, and ``statuses`` with an error."""
    content = {"application/json": {"schema": component(kind)}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content}, **problems(*statuses)}


def files(what: str, *statuses: int, kind: str = "application/octet-stream") -> Responses:
    """A view that answers 200 with bytes of the media type ``kind``, and ``statuses`` with an error."""
    return {200: {"description": what, "content": {kind: {}}}, **problems(*statuses)}


def result_responses(kind: type, *statuses: int) -> Responses:
    """A view that answers 200 with files, or with the JSON of a ``kind`` that lists them, and ``statuses`` with an
    error."""
    what = "The answer of the only file, or a zip of all answers and a report; as JSON a list of them"
    found = files(what, *statuses)
    found[200]["content"] |= {"application/zip": {}, "application/json": {"schema": component(kind)}}
    return found


def predict_responses() -> Responses:
    """The answers of POST /predict: JSON or a file of one of the writers."""
    content: dict[str, Schema] = {writer.media_type: {} for writer in WRITERS.values()}
    content["application/json"] = {"schema": component(Prediction)}
    done = {"description": "A class for every point, in input order", "content": content}
    return {200: done, **problems(401, 403, 404, 406, 413, 415, 422, 429, 504, 507)}


def complete(spec: Any) -> Any:
    """Add to ``spec`` the components, and what POST /predict reads."""
    spec["security"] = [{}, {"bearer": []}, {"header": []}]
    spec["paths"] = {"/predict": spec["paths"].pop("/predict"), **spec["paths"]}
    spec["paths"]["/diagnostics"]["get"]["parameters"] = [DEEP]
    predict = spec["paths"]["/predict"]["post"]
    options = properties()
    options["fields"]["items"][WORDS] = {name: f"{field.text}." for name, field in fields.FIELDS.items()}
    predict["parameters"] = [_parameter(name, schema) for name, schema in options.items()]
    predict["requestBody"] = _body(options)
    describe_jobs(spec, predict)
    describe(spec, component(InferenceRequest))
    for operation in (operation for path in spec["paths"].values() for operation in path.values()):
        described = {str(status): problem for status, problem in problems(*ANYWHERE).items()} | operation["responses"]
        operation["responses"] = dict(sorted(described.items()))
    add_examples(spec)
    spec["components"] = {"schemas": _schemas(), "securitySchemes": SECURITY}
    return spec


def _schemas() -> dict[str, Schema]:
    """The schema of every type that ``component`` has seen, and of the types in them, by name."""
    kinds: list[tuple[str, JsonSchemaMode, TypeAdapter[Any]]]
    kinds = [(name, "validation", TypeAdapter(kind)) for name, kind in _bodies.items()]
    found: dict[str, Schema] = TypeAdapter.json_schemas(kinds, ref_template=TEMPLATE)[1]["$defs"]
    found["Prediction"]["properties"] |= {field.array_name: _values(field) for field in fields.OUTPUTS.values()}
    steps = {step.name: step.description for step in STEPS}
    found["StepCount"]["properties"]["step"] |= {"enum": list(steps), WORDS: steps}
    found["Prediction"]["required"].append(fields.LABELS.array_name)
    return found


def _parameter(name: str, schema: Schema) -> Schema:
    listed = {"style": "form", "explode": False} if "array" in str(schema) else {}
    schema = {key: value for key, value in schema.items() if key not in ("title", "default") or value}
    return {"name": name, "in": "query", "description": schema.pop("description"), "schema": schema, **listed}


def _body(options: Schema) -> Schema:
    file = {"type": "string", "contentMediaType": "application/octet-stream"}
    form = {"type": "object", "properties": {"file": file, **options}, "required": ["file"]}
    content = {
        "multipart/form-data": {"schema": form},
        "application/octet-stream": {"schema": {}},
        "application/json": {"schema": component(PointRows)},
    }
    return {
        "required": True,
        "description": "A file as it is, a form with the part 'file', or JSON.",
        "content": content,
    }
