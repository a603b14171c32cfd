"""All settings of the service, typed, without torch. An environment variable POINTSERVE_<NAME> sets each.

There are three classes, one for each of those who read settings: ``ModelSettings`` say which models there are and how
they run, ``EngineSettings`` are all that an engine process gets, ``Settings`` are those of the service.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

MIB = 1 << 20  # bytes
BY_MODEL = "one value for all models, or MODEL=VALUE by their names, joined by ','"  # marks the type of such a setting
MAX_PASSES = 128
"""Enough for the test procedures of published configs (ScanNet: 12 views of 2 to 10 fragments; nuScenes with its
pre-grid: 10 of 7) and for tiles of airborne LiDAR, far from the thousands that a few voxels of duplicates would cost.
"""


def _like(pattern: str, expected: str) -> AfterValidator:
    """Accepts text that ``pattern`` matches as a whole; else the error says what was ``expected``, not the value."""

    def check(value: str) -> str:
        if re.fullmatch(pattern, value) is None:
            raise PydanticCustomError("expected", "{expected}", {"expected": expected})
        return value

    return AfterValidator(check)


def _by_model(*values: str) -> AfterValidator:
    """Accepts ``values`` as ``BY_MODEL`` says."""
    one = rf"([^,=]+=)?({'|'.join(values)})"
    listed = f"{', '.join(values[:-1])} or {values[-1]}"
    return _like(rf"{one}(,{one})*", f"{listed}, or by model, as in NAME={values[-1]}, joined by ','")


def value_for(setting: str, model: str) -> str:
    """What ``setting``, one that is ``BY_MODEL``, says for ``model``: its own value, else that for all, else auto."""
    values = dict(_pairs(setting))
    return values.get(model, values.get("", "auto"))


def models_named(setting: str) -> set[str]:
    """The models that ``setting``, one that is ``BY_MODEL``, has a value of their own for."""
    return {model for model, _ in _pairs(setting) if model}


def _pairs(setting: str) -> list[tuple[str, str]]:
    parts = [part.strip().rpartition("=") for part in setting.split(",")]
    return [(model.strip(), value) for model, _, value in parts]


Choice = Annotated[str, _by_model("auto", "yes", "no"), BY_MODEL]
Backend = Annotated[str, _by_model("auto", "native", "upstream"), BY_MODEL]
Precision = Annotated[str, _by_model("auto", "fp32", "upstream", "fp16", "bf16"), BY_MODEL]
Keys = Annotated[
    str,
    _like(
        r"([^,=\s]+=[0-9a-f]{64}(,[^,=\s]+=[0-9a-f]{64})*)?",
        "entries as `pointserve key NAME` prints them, NAME=HASH, joined by ','; the key itself belongs to the client",
    ),
]
HOST = r"\s*(\*|\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*)\s*"
Hosts = Annotated[
    str,
    _like(rf"({HOST}(,{HOST})*)?", "names without ports joined by ',', .example.com for all below it, or *"),
]
NAME = r"\s*[A-Za-z_][\w.]*\s*"
Names = Annotated[str, _like(rf"({NAME}(,{NAME})*)?", "names such as os.system joined by ','")]
ORIGIN = r"\s*(\*|https?://[^\s,/?#]+/?)\s*"
Origins = Annotated[
    str, _like(rf"({ORIGIN}(,{ORIGIN})*)?", "origins such as https://maps.example.com:8443 joined by ',', or *")
]
SOURCE = r"\s*(https?|s3a?|gs|gcs)://[^\s,/?#@]+(/[^\s,?#]*)?\s*"
Prefixes = Annotated[
    str, _like(rf"({SOURCE}(,{SOURCE})*)?", "beginnings of URLs such as s3://bucket/surveys/ joined by ','")
]
TARGET = r"(s3a?|gs|gcs)://[^\s,/?#@]+(/[^\s,?#]*)?"
Target = Annotated[str, _like(f"({TARGET})?", "the beginning of URLs of an object store, such as s3://bucket/jobs/")]
PREFIX = r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?"
PathPrefix = Annotated[str, _like(PREFIX, "a path of letters, digits and . _ ~ -, such as /lidar")]


class ModelSettings(BaseModel):
    """Settings of models and how they run; ``serve`` and ``predict`` have an option for each."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    models: str = Field(
        "", description="experiment folders, or parents of such folders, joined by ':'; empty: the bundled model"
    )
    legacy_colors: Choice = Field(
        "auto",
        description="whether colors go to the network from -1 to 1, as before Pointcept 1.6: auto, yes, no, or "
        "MODEL=yes and so on by model, joined by ','",
    )
    legacy_blocks: Choice = Field(
        "auto",
        description="whether PT-v3m1 runs as before Pointcept 1.5.2: auto, yes, no, or by model as above",
    )
    precision: Precision = Field(
        "auto",
        description="precision of the network: fp32; upstream, which is fp32 with attention rounded to bf16, as in "
        "Pointcept; fp16; bf16; or auto, which is fp16 on a GPU if the network can and fp32 otherwise; or by model as "
        "above",
    )
    backend: Backend = Field(
        "auto",
        description="what runs the network: native; upstream, that is Pointcept itself, if it is installed; or "
        "auto, which is upstream for types that are not native; or by model as above",
    )
    permitted_names: Names = Field(
        "",
        description="names of functions that run code, which the pickle of a model's weights may hold, joined by ','; "
        "nothing is run either way; empty: such weights are refused",
    )
    device: str = Field(
        "auto", description="device that runs the network: auto, cpu, cuda or cuda:N; several joined by ','"
    )
    threads: int = Field(0, ge=0, le=1024, description="CPU threads of an engine; 0: all cores")
    tile_voxels: int = Field(400_000, gt=0, description="voxels in one pass of the network; larger clouds are tiled")


class EngineSettings(ModelSettings):
    """All settings that an engine process gets, in its first message; ``device`` is its own."""

    batch_voxels: int = Field(100_000, gt=0, description="most voxels of clouds that share a pass")
    in_flight: int = Field(
        0,
        ge=0,
        le=8,
        description="most batches of clouds that an engine has in flight: while one is in the network, others are "
        "prepared and projected; 0: 4 on a GPU, 1 on the CPU",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least severity of what is logged: debug, info, warning or error"
    )

    @property
    def shared_voxels(self) -> int:
        """Most voxels of clouds that share a pass, which is never larger than one tile."""
        return min(self.batch_voxels, self.tile_voxels)

    def batches_in_flight(self, device: str) -> int:
        """Most batches of clouds that an engine on ``device``, cpu or cuda, has in flight."""
        return self.in_flight or (1 if device == "cpu" else 4)


Part = TypeVar("Part", bound=ModelSettings)


class Settings(EngineSettings, BaseSettings):
    """Settings of the service: arguments, else the environment, else the defaults here.

    ``make docs`` prints the tables in the docs from the descriptions.
    """

    model_config = SettingsConfigDict(env_prefix="POINTSERVE_", extra="forbid", allow_inf_nan=False, frozen=True)

    host: str = Field("127.0.0.1", description="address that the server listens on")
    port: int = Field(5001, gt=0, lt=65536, description="port that the server listens on")
    default_model: str = Field("", description="model used when a request names none; empty: the first one found")

    max_body_mib: int = Field(1024, gt=0, description="largest request body")
    max_points: int = Field(50_000_000, gt=0, description="largest number of points in one cloud")
    spool_memory_mib: int = Field(
        0,
        ge=0,
        description="bodies up to this size stay in memory, larger ones go to disk; 0: an eighth of the memory for "
        "requests, at least 64 MiB",
    )
    spool_dir: Path | None = Field(None, description="where larger bodies go; unset: the system's temporary folder")
    max_connections: int = Field(
        1000, gt=0, description="most open connections; fewer if there are few descriptors (ulimit -n)"
    )
    header_timeout_s: float = Field(10.0, gt=0, description="time for the headers of a request before it gets 408")
    min_rate_bytes_s: float = Field(
        8192.0,
        ge=0,
        description="least bytes a second, on average, of a body sent or an answer taken before a client is dropped: "
        "after the times without a byte below, and sooner while others wait for its place; 0: any",
    )
    send_stall_s: float = Field(60.0, gt=0, description="time without a byte taken before a client is dropped")
    upload_stall_s: float = Field(60.0, gt=0, description="time without a byte of the body before a request gets 408")

    web_processes: int = Field(
        0,
        ge=0,
        le=64,
        description="processes that talk to clients: beyond the first, which has the queue, each takes predictions; "
        "0: one, or with several GPUs one more than there are GPUs, at most five",
    )
    readers: int = Field(
        2,
        gt=0,
        le=256,
        description="processes that decode and encode files; pointserve batch has one for two cores by itself",
    )
    memory_mib: int = Field(
        0,
        ge=0,
        description="memory that requests may take together: files, clouds, what reads, segments and writes them, and "
        "answers; 0: what the container or machine has beyond processes and passes of the network",
    )
    reader_memory_mib: int = Field(
        0, ge=0, description="memory that one file may take in a reader process; 0: 4096, or less on a small machine"
    )
    reader_timeout_s: float = Field(60.0, gt=0, description="time for decoding or encoding one file")

    queue_requests: int = Field(64, gt=0, description="requests waiting or running before new ones get 429")
    queue_points: int = Field(100_000_000, gt=0, description="points waiting or running before new ones get 429")
    queue_memory_mib: int = Field(
        0,
        ge=0,
        description="estimated device memory of clouds waiting or running before new ones get 429; "
        "0: four times that of the devices",
    )
    request_timeout_s: float = Field(
        300.0, gt=0, description="time for one request before it is answered 504; a request may ask for less"
    )
    batch_requests: int = Field(16, gt=0, le=64, description="most clouds in one pass of the network")
    batch_delay_ms: float = Field(
        5.0, ge=0, description="how long a cloud waits for others that are being read, to share a pass"
    )
    max_passes: int = Field(
        MAX_PASSES, gt=0, description="most passes of modes exact and vote; a request may ask for fewer"
    )

    engine_silence_s: float = Field(20.0, gt=0, description="time without a sign of life before an engine is killed")
    engine_overrun_s: float = Field(
        30.0, gt=0, description="time past a request's deadline, and 20 s a million points, before its engine is killed"
    )
    engine_failures: int = Field(6, gt=0, description="losses of an engine in a row, not over clouds, before it pauses")
    engine_pause_s: float = Field(120.0, gt=0, description="length of that pause")
    model_control: bool = Field(True, description="whether models can be loaded and unloaded over HTTP")
    drain_delay_s: float = Field(
        1.0, ge=0, description="least time after SIGTERM in which /health/ready says 503 before the port is closed"
    )
    grace_s: float = Field(30.0, gt=0, description="time after SIGTERM for requests under way")

    jobs_dir: Path | None = Field(
        None, description="folder that keeps the jobs of POST /jobs, their files and answers; unset: there are no jobs"
    )
    jobs_store: Target = Field(
        "",
        description="where the answers of jobs go, such as s3://bucket/jobs/, and are fetched by links that the store "
        "signs; empty: jobs_dir",
    )
    jobs_link_s: float = Field(3600.0, gt=0, le=604_800, description="time for which such a link works")
    jobs_roots: str = Field(
        "", description="folders whose files a job may name as sources, joined by ':'; empty: only uploads"
    )
    jobs_urls: Prefixes = Field(
        "",
        description="what the URLs of a job's sources may begin with, such as s3://bucket/surveys/ or "
        "https://tiles.example.com/, joined by ','; no redirect is followed; empty: none",
    )
    jobs_keep_s: float = Field(
        604_800.0, gt=0, description="time after its end in which a job and its answers are kept"
    )
    jobs_disk_mib: int = Field(
        102_400, ge=0, description="disk space of all jobs together before uploads get 507; 0: no limit"
    )
    jobs_waiting: int = Field(100, gt=0, description="jobs that wait or run before new ones get 429")

    api_keys: Keys = Field(
        "",
        description="keys that requests must bring, as entries of `pointserve key`, joined by ','; empty: none",
    )
    rate_limit: float = Field(
        0.0, ge=0, description="requests a minute, other than GET, of one key or address before it gets 429; 0: any"
    )
    allowed_hosts: Hosts = Field(
        "",
        description="names under which the service is asked, joined by ','; .example.com: that and all below it; *: "
        "any. IP addresses, names without a dot or under .localhost, .local, .lan, .internal, .home.arpa, and this "
        "machine's own need not be named",
    )
    cors_origins: Origins = Field(
        "", description="origins of pages elsewhere that may use the service, joined by ','; *: any; empty: none"
    )
    proxies: int = Field(0, ge=0, description="proxies in front that add X-Forwarded-For, which is believed so far")
    path_prefix: PathPrefix = Field(
        "",
        description="path under which a proxy serves the service, such as /lidar, if the proxy does not send it as "
        "X-Forwarded-Prefix",
    )
    traces: bool = Field(
        False, description="whether spans are sent by OpenTelemetry, to where its own variables OTEL_* say"
    )

    def part(self, kind: type[Part], **own: Any) -> Part:
        """The settings of ``kind``, with ``own`` values in place of some."""
        return kind(**self.model_dump(include=set(kind.model_fields)) | own)


DEFAULTS = ModelSettings()
