"""Print tables of the documents from the code: ``make docs`` rewrites what stands between its ``<!-- … -->`` marks.

It also writes the settings of compose, and the types of the options that the client takes.
"""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from app import create_app
from app.clouds import catalog
from app.clouds.fields import OUTPUTS, OutputField
from app.http.v2.tensors import DATATYPES
from app.http.v2.tensors import OUTPUTS as TENSORS
from app.option_text import accepted, properties
from app.refine.steps import STEPS
from app.settings import Settings

NUMBERS = {"integer": "int", "number": "float"}  # in Python, by their names in a JSON schema
ROOT = Path(__file__).parents[1]
ENVIRONMENT = ROOT / "deploy/compose.env"
CLIENT_OPTIONS = ROOT / "libs/pointserve_client/pointserve_client/options.py"
OF_THE_IMAGE = ("host", "port", "models", "spool_dir")
UNDESCRIBED = {
    "GET /": "The page: drop a cloud, look at its classes; a program is sent to /docs",
    "GET /docs": "The OpenAPI description as a page, with a form to try it",
    "GET /openapi.json": "OpenAPI 3.1 description",
}


INFERENCE, JOBS = "/v2", "/jobs"


def endpoints() -> str:
    """Every path that the OpenAPI description lists, and the description's own, without jobs and Open Inference."""
    elsewhere = (INFERENCE, JOBS)
    described = _described().items()
    return _endpoints(
        {name: what for name, what in described if not any(each in name for each in elsewhere)} | UNDESCRIBED
    )


def jobs() -> str:
    """The paths of jobs."""
    return _endpoints({name: what for name, what in _described().items() if JOBS in name})


def inference() -> str:
    """The paths of the Open Inference protocol."""
    return _endpoints({name: what for name, what in _described().items() if INFERENCE in name})


def _described() -> dict[str, str]:
    paths = create_app(Settings()).spec["paths"]
    return {
        f"{method.upper()} {path}": view["summary"] for path, views in paths.items() for method, view in views.items()
    }


def _endpoints(rows: dict[str, str]) -> str:
    listed = sorted(rows.items(), key=lambda row: (row[0].startswith("GET"), row[0]))
    return _table(("request", "answer"), [(f"`{name}`", what) for name, what in listed])


def settings() -> str:
    """Every setting with its default."""
    rows = [
        (f"`POINTSERVE_{name.upper()}`", _default(field.default), str(field.description))
        for name, field in Settings.model_fields.items()
    ]
    return _table(("variable", "default", "what it is"), rows)


def options() -> str:
    """Every option of a prediction."""
    rows = [
        (f"`{name}`", accepted(schema), _default(schema["default"]), schema["description"])
        for name, schema in properties().items()
    ]
    return _table(("option", "accepted", "default", "what it is"), rows)


def fields() -> str:
    """Every field of an answer, under the names that it has in files."""
    rows = [
        (f"`{name}`", field.text, _shape(field, "(N, {})", "(N,)"), f"`{field.array_name}`", _columns(field))
        for name, field in OUTPUTS.items()
    ]
    head = ("field", "what it is", "type", "in JSON, safetensors, Open Inference", "columns of LAS, PLY, PCD, CSV")
    return _table(head, rows)


def steps() -> str:
    """Every step that refines labels, in its order."""
    rows = [(f"`{step.name}`", ", ".join(f"`{name}`" for name in step.asks), step.description) for step in STEPS]
    return _table(("step", "asked for by", "what it does"), rows)


def outputs() -> str:
    """Every output tensor of the Open Inference protocol."""
    rows = [
        (f"`{name}`", DATATYPES[field.dtype], _shape(field, "[N, {}]", "[N]").partition(" ")[2], field.text)
        for name, field in TENSORS.items()
    ]
    return _table(("output", "datatype", "shape", "what it is"), rows)


def _shape(field: OutputField, wide: str, narrow: str) -> str:
    """Type and shape; ``wide`` takes the name or number of the values that a point has."""
    return f"{np.dtype(field.dtype).name} {narrow if field.width is None else wide.format(field.width)}"


def _columns(field: OutputField) -> str:
    """Names of its columns, those of a class in CSV among them."""
    names = [field.column_name] if field.width is None else [*field.parts]
    in_csv = [f"`{field.class_part.format('CLASS')}` (CSV)"] if field.class_part else []
    return ", ".join([f"`{name}`" for name in names] + in_csv)


TABLES = {
    "README.md": {"endpoints": endpoints, "formats": catalog.table},
    "docs/clients.md": {"options": options, "inference": inference, "outputs": outputs},
    "docs/formats.md": {"fields": fields},
    "docs/jobs.md": {"jobs": jobs},
    "docs/operations.md": {"settings": settings},
    "docs/refine.md": {"steps": steps},
}


def filled(document: str, text: str) -> str:
    """``text`` of ``document`` with every table between its marks printed again."""
    for name, table in TABLES[document].items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, begun, rest = text.partition(begin)
        _, ended, after = rest.partition(end)
        if not begun or not ended:
            raise ValueError(f"the text lacks the mark <!-- {name} --> or {end}")
        text = before + begin + table() + end + after
    return text


def _default(value: object) -> str:
    return "" if value in ("", None, []) else f"`{value}`"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def environment() -> str:
    """The file of settings that docker-compose.ml.yml gives to the service: every one, commented out."""
    lines = [
        "# Settings of the service in docker-compose.ml.yml: take the # away from those that are to differ.",
        "# Another file is taken with SETTINGS_FILE=path in the shell. `pointserve key NAME` prints an entry.",
        "# Printed by `make docs`; the image sets POINTSERVE_MODELS, _HOST and _SPOOL_DIR.",
    ]
    for name, field in Settings.model_fields.items():
        if name not in OF_THE_IMAGE:
            default = "" if field.default is None else field.default
            lines += ["", *textwrap.wrap(str(field.description), 110, initial_indent="# ", subsequent_indent="# ")]
            lines.append(f"#POINTSERVE_{name.upper()}={default}")
    return "\n".join(lines) + "\n"


def client_options() -> str:
    """The module of the client that declares the options of a prediction, printed from the service's declaration."""
    schemas = properties()
    choices = {name: names for name, schema in schemas.items() if (names := _choices(schema))}
    lines = [
        '"""Options of a prediction. Printed from the service\'s declaration by ``make docs``: edit that one."""',
        "",
    ]
    lines += ["from collections.abc import Sequence", "from typing import Literal, TypedDict", ""]
    for name, names in choices.items():
        lines += [f"{_type_name(name)} = Literal[", *(f'    "{each}",' for each in names), "]"]
    lines += ["", "", "class Options(TypedDict, total=False):"]
    lines += ['    """What may be asked of a prediction; None leaves an option out, and the server decides."""']
    for name, schema in schemas.items():
        if name != "output":
            wanted = _type_name(name) if name in choices else "str"
            lines += ["", f"    {name}: {_python_type(schema, wanted)} | None"]
            lines += textwrap.wrap(
                f'"""{schema["description"]}"""', 120, initial_indent="    ", subsequent_indent="    "
            )
    return "\n".join(lines) + "\n"


def _type_name(option: str) -> str:
    """``fields`` is a sequence of ``Field``."""
    return option.title().replace("_", "").removesuffix("s")


def _choices(schema: Mapping[str, Any]) -> list[str]:
    """The words of which an option takes one, or several."""
    within = [*schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else [])]
    return next((names for each in within if (names := _choices(each))), schema.get("enum", []))


def _python_type(schema: Mapping[str, Any], word: str) -> str:
    """The type of an option's value: several words may be one string with commas, too."""
    kind = schema.get("type") or next(each["type"] for each in schema["anyOf"] if each["type"] != "null")
    if kind == "array":
        items = schema.get("items") or next(each["items"] for each in schema["anyOf"] if "items" in each)
        return f"str | Sequence[{NUMBERS.get(items['type'], word)}]"
    return {"string": word, "boolean": "bool", **NUMBERS}[kind]


if __name__ == "__main__":
    CLIENT_OPTIONS.write_text(client_options(), encoding="utf-8")
    ENVIRONMENT.write_text(environment(), encoding="utf-8")
    for document in TABLES:
        path = ROOT / document
        path.write_text(filled(document, path.read_text(encoding="utf-8")), encoding="utf-8")
