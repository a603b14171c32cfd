"""POST /v2/models/{name}/infer: tensors or a file in, labels for every point out."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from apiflask import APIBlueprint
from flask import Response, request

from app.engine.body import Body, Spool
from app.engine.deadline import Deadline
from app.engine.service import Answer
from app.errors import BadRequest, quoted
from app.http.admission import admitted, check_early
from app.http.connection import hung_up
from app.http.negotiation import refined_header
from app.http.openapi import responses
from app.http.progress import Progress
from app.http.query import timeout_s
from app.http.state import state
from app.http.trace import answered, request_id
from app.http.upload import body_stream
from app.http.v2.answer import (
    InferenceAnswer,
    InferenceHeader,
    OutputTensor,
    compressed,
    outputs_of,
    slices,
    write_json,
)
from app.http.v2.models import VERSION, check_version, default_outputs, name_served, possible_outputs
from app.http.v2.parameters import options_of
from app.http.v2.request import HEADER_LENGTH, Tensors, opened
from app.options import Options
from app.settings import MIB

JSON = "The JSON of the request"  # for what it says of memory

blueprint = APIBlueprint("v2_infer", __name__, url_prefix="/v2/models")


@blueprint.post("/<name>/infer")
@blueprint.doc(responses=responses(InferenceAnswer, 400, 401, 403, 404, 408, 413, 415, 422, 429, 503, 504, 507))
def infer(name: str) -> Response:
    """Classify every point, as the Open Inference protocol asks for it"""
    if request.args:
        raise BadRequest(
            f"The address has the option {quoted(next(iter(request.args)))}; here options are among the 'parameters' "
            "of the JSON."
        )
    return admitted(lambda progress: _answer(name, progress))


@blueprint.post("/<name>/versions/<version>/infer")
@blueprint.doc(hide=True)
def infer_version(name: str, version: str) -> Response:
    """Inference by the version of a model; each has one."""
    check_version(version)
    return infer(name)


@dataclass(frozen=True)
class Asked:
    """What is left of a request once its tensors are in ``cloud``: outputs, and whether each is to be binary."""

    id: str
    options: Options
    outputs: dict[str, bool]
    cloud: Body


def _answer(name: str, progress: Progress) -> Response:
    asked = _receive(name, progress)
    begin_s = time.perf_counter()
    try:
        with asked.cloud:
            answer = state().service.predict(
                asked.cloud, asked.options, request_id(), progress.enter, is_gone=hung_up(request.environ)
            )
    except Exception:
        if counted := name_served(name):
            state().measures.statistics.failed(counted, time.perf_counter() - begin_s)
        raise
    try:
        return _response(answer, asked)
    except BaseException:
        answer.close()
        raise


def _receive(name: str, progress: Progress) -> Asked:
    check_early(Options(model=name))
    limit_bytes = state().settings.max_body_mib * MIB
    with body_stream(request, limit_bytes, progress.received) as stream:
        body = Body.from_stream(stream, limit_bytes, state().storage, request.content_length or 0)
    deadline = Deadline.after(state().settings.request_timeout_s, hung_up(request.environ))
    with (
        body,
        state().service.memory.reservation() as held,
        opened(
            body, request.headers.get(HEADER_LENGTH), lambda num_bytes: held.resize(num_bytes, deadline, JSON)
        ) as tensors,
    ):
        outputs = tensors.wanted(default_outputs(name), possible_outputs(name))
        options = options_of(tensors.request.parameters, name, list(outputs)).or_else(
            format=lambda: "npz" if tensors.file is None else None,
            timeout_s=lambda: timeout_s(request.headers),
        )
        return Asked(tensors.request.id, options, outputs, _cloud(tensors))


def _cloud(tensors: Tensors) -> Body:
    """What a reader gets: the file as it is, or the arrays as NPZ."""
    with Spool(state().storage) as file:
        if tensors.file is not None:
            file.write(tensors.file)
        else:
            flat = {name: array.ravel() if name == "strength" else array for name, array in tensors.arrays.items()}
            np.savez(cast(Any, file), **cast(Any, flat))
        return file.take()


def _response(answer: Answer, asked: Asked) -> Response:
    """JSON and binary data, streamed from the answer's file."""
    answered(answer)
    found = outputs_of(answer)
    outputs = [(found[name], is_binary) for name, is_binary in asked.outputs.items()]
    header: InferenceHeader = {
        "model_name": answer.model,
        "model_version": VERSION,
        "id": asked.id,
        "parameters": {"request_id": request_id(), "passes": answer.passes, "passes_wanted": answer.passes_wanted},
    }
    if not asked.id:
        del header["id"]
    if answer.warnings:
        header["parameters"]["warnings"] = " ".join(answer.warnings)
    if answer.refined:
        header["parameters"]["refined"] = refined_header(answer.refined)
    head = Spool(state().storage)
    try:
        write_json(head, header, answer, outputs)
        length = head.tell()
        head.seek(0)
    except BaseException:
        head.close()
        raise
    chunks = _chunks(head, answer, [output for output, is_binary in outputs if is_binary])
    total = length + sum(output.end - output.begin for output, is_binary in outputs if is_binary)
    has_binary = any(is_binary for _, is_binary in outputs)
    encoding = _encoding()
    response = Response(compressed(chunks, encoding) if encoding else chunks)
    response.mimetype = "application/octet-stream" if has_binary else "application/json"
    response.call_on_close(answer.close)
    response.call_on_close(head.close)
    response.vary.add("Accept-Encoding")
    if has_binary:
        response.headers[HEADER_LENGTH] = str(length)
    if encoding:
        response.headers["Content-Encoding"] = encoding
    else:
        response.content_length = total
    return response


def _chunks(head: Spool, answer: Answer, outputs: list[OutputTensor]) -> Iterator[bytes]:
    while chunk := head.read(MIB):
        yield chunk
    for output in outputs:
        yield from slices(answer.fd, output.begin, output.end)


def _encoding() -> str | None:
    """The compression that the client likes better than none."""
    accepted = request.accept_encodings
    plain = accepted.quality("identity")
    return next((name for name in ("gzip", "deflate") if accepted.quality(name) > plain), None)
