"""A curl example of every endpoint, which runs as it stands: it makes or fetches the files that it sends."""

from typing import Any

HOST = "http://localhost:5001/"
BUNDLED = "aerial-semseg-spunet-v1m1"
TOWN = f"curl -o town.laz {HOST}samples/town.laz\n"
MODEL = f"{HOST}models/{BUNDLED}"
V2_MODEL = f"{HOST}v2/models/{BUNDLED}"
REPOSITORY = f"{HOST}v2/repository"

PREDICT = f"""\
# a LAZ file, which comes back classified
{TOWN}curl -F file=@town.laz '{HOST}predict?output=laz' -o classified.laz

# the same as a raw body; JSON with the confidence of every point
curl --data-binary @town.laz '{HOST}predict?fields=confidence' -o town.json

# points as JSON
curl --json '{{"points": [[0, 0, 0], [1, 0, 0], [0, 1, 0.5]]}}' {HOST}predict

# a table whose columns are named by the request
printf '0 0 0 7\\n1 0 0 8\\n0 1 1 9\\n' > points.txt
curl -F file=@points.txt -F columns=x,y,z,intensity -F output=csv {HOST}predict

# of a file that names its columns, another one for the strength
printf 'x,y,z,echo\\n0,0,0,7\\n1,0,0,8\\n0,1,1,9\\n' > echoes.csv
curl -F file=@echoes.csv '{HOST}predict?columns=intensity:echo&output=csv'"""

PROGRESS = f"""\
{TOWN}curl -F file=@town.laz -H 'X-Request-Id: my-town' '{HOST}predict?output=laz' -o classified.laz &
sleep 0.5
curl {HOST}progress/my-town
wait"""

JOB = f"""\
{TOWN}job=$(curl -F file=@town.laz {HOST}jobs | sed 's/.*"id": *"\\([^"]*\\)".*/\\1/')
"""

INFER = f"""\
curl --json '{{
  "inputs": [{{"name": "coord", "datatype": "FP64", "shape": [3, 3], "data": [0, 0, 0, 1, 0, 0, 0, 1, 0.5]}}],
  "outputs": [{{"name": "labels"}}]
}}' {V2_MODEL}/infer"""

EXAMPLES = {
    "GET /": f"curl -L {HOST}",
    "GET /docs": f"curl {HOST}docs",
    "GET /openapi.json": f"curl {HOST}openapi.json",
    "POST /predict": PREDICT,
    "GET /progress/{request_id}": PROGRESS,
    "POST /jobs": f"{TOWN}curl -o forest.laz {HOST}samples/forest.laz\n"
    f"curl -F file=@town.laz -F file=@forest.laz '{HOST}jobs?output=laz'",
    "GET /jobs": f"curl {HOST}jobs",
    "GET /jobs/{job_id}": f"{JOB}curl {HOST}jobs/$job",
    "GET /jobs/{job_id}/result": f"{JOB}until curl --fail-with-body {HOST}jobs/$job/result -o town.laz; "
    "do sleep 1; done",
    "GET /jobs/{job_id}/result/{name}": f"{JOB}until curl --fail-with-body {HOST}jobs/$job/result/report.html "
    "-o report.html; do sleep 1; done",
    "GET /jobs/{job_id}/events": f"{JOB}curl -N {HOST}jobs/$job/events",
    "POST /jobs/{job_id}/retry": f"{JOB}until curl --fail-with-body -X POST {HOST}jobs/$job/retry; do sleep 1; done",
    "DELETE /jobs/{job_id}": f"{JOB}curl -X DELETE {HOST}jobs/$job -i",
    "GET /samples": f"curl {HOST}samples",
    "GET /samples/{name}.laz": f"curl -o forest.laz {HOST}samples/forest.laz",
    "GET /health": f"curl {HOST}health",
    "GET /health/live": f"curl {HOST}health/live",
    "GET /health/ready": f"curl {HOST}health/ready",
    "GET /metrics": f"curl {HOST}metrics",
    "GET /diagnostics": f"curl {HOST}diagnostics",
    "GET /models": f"curl {HOST}models",
    "GET /models/{name}": f"curl {MODEL}",
    "POST /models/{name}/load": f"curl -X POST {MODEL}/load",
    "POST /models/{name}/reload": f"curl -X POST {MODEL}/reload",
    "POST /models/{name}/unload": f"curl -X POST {MODEL}/unload\ncurl -X POST {MODEL}/load  # and back",
    "GET /v2": f"curl {HOST}v2",
    "GET /v2/health/live": f"curl {HOST}v2/health/live",
    "GET /v2/health/ready": f"curl {HOST}v2/health/ready",
    "GET /v2/models/stats": f"curl {HOST}v2/models/stats",
    "GET /v2/models/{name}": f"curl {V2_MODEL}",
    "GET /v2/models/{name}/ready": f"curl {V2_MODEL}/ready",
    "GET /v2/models/{name}/config": f"curl {V2_MODEL}/config",
    "GET /v2/models/{name}/stats": f"curl {V2_MODEL}/stats",
    "POST /v2/models/{name}/infer": INFER,
    "POST /v2/repository/index": f"curl -X POST {REPOSITORY}/index",
    "POST /v2/repository/models/{name}/load": f"curl -X POST {REPOSITORY}/models/{BUNDLED}/load",
    "POST /v2/repository/models/{name}/unload": f"curl -X POST {REPOSITORY}/models/{BUNDLED}/unload\n"
    f"curl -X POST {REPOSITORY}/models/{BUNDLED}/load  # and back",
}


def add_examples(spec: Any) -> None:
    """Put the examples into the operations of ``spec``, in the place that OpenAPI tools read."""
    for path, operations in spec["paths"].items():
        for method, operation in operations.items():
            operation["x-codeSamples"] = [{"lang": "Shell", "source": EXAMPLES[f"{method.upper()} {path}"]}]


def example(name: str, host: str, model: str) -> str:
    """That of ``name``, a method and a path, as the server at ``host`` that serves ``model`` takes it."""
    return EXAMPLES[name].replace(HOST, host).replace(BUNDLED, model)
