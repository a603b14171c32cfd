"""``pointserve batch``."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .configuration import configure, refuse_with_url
from .options import with_prediction, with_settings
from .terminal import messages, warn

if TYPE_CHECKING:
    from app.settings import Settings
    from app.survey.manifest import Manifest
    from app.survey.plan import Wanted
    from app.survey.workers import Workers

NAME = "{stem}{suffix}"
PATIENT = {"request_timeout_s": 3600, "reader_timeout_s": 600}  # nobody waits for a tile of a survey
NAME_CHARS = 80  # of a bucket and prefix, in the name of the folder of a manifest
UNBOUNDED = {"max_points": 1 << 31, "queue_points": 1 << 32}  # the driver bounds what is under way


@with_settings("readers", "in_flight", "memory_mib", "spool_dir", *PATIENT, of_models=True)
@with_prediction("filename", "timeout_s")
def batch(
    context: typer.Context,
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Files, folders, globs, lists (@FILE), virtual point clouds (.vpc), and URLs of such: s3://, gs://, "
            "https://.",
            show_default=False,
        ),
    ],
    out: Annotated[
        str,
        typer.Option(
            "-o",
            "--out",
            metavar="FOLDER",
            help="Where the answers go, and survey.db, which knows them; or an object store, s3://BUCKET/PREFIX or gs://.",
        ),
    ],
    buffer: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="METRES",
            help="Around a tile, within which its neighbours give context. Default: the halo of the model.",
            show_default=False,
        ),
    ] = None,
    buffer_only: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Glob of files that give context and get no answer.", show_default=False),
    ] = None,
    name: Annotated[
        str, typer.Option(metavar="PATTERN", help="Names of the answers, such as '{stem}_classified{suffix}'.")
    ] = NAME,
    copc: Annotated[
        bool, typer.Option("--copc", help="All answers as COPC, for viewers that load what they show: --output copc.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try tiles again that failed, and those that lacked a neighbour.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Label every tile again, also those that are done.")] = False,
    ray: Annotated[
        str,
        typer.Option(
            "--ray",
            metavar="ADDRESS",
            help="Work on this Ray cluster, auto or ray://HOST:10001, instead of on this machine.",
            show_default=False,
        ),
    ] = "",
    manifest: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where survey.db is if the answers go to an object store. Default: a folder of the user for each.",
            show_default=False,
        ),
    ] = None,
    url: Annotated[
        str, typer.Option(help="Have the server at this address do the work, as a job, instead of this machine.")
    ] = "",
    key: Annotated[str, typer.Option(help="Key for that server.", envvar="POINTSERVE_KEY", show_default=False)] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
) -> None:
    """Give every point of a survey a class: any number of files, each with context from its neighbours.

    Run again, it goes on where it stopped: what is done and unchanged is not done again. A file that cannot be read
    does not end the others; the exit code is 1 then.
    """
    from app.errors import BadRequest
    from app.option_text import parse
    from app.options import NAMES
    from app.survey import remote, target
    from app.survey.manifest import Manifest
    from app.survey.plan import Wanted

    from . import survey_plan

    asked = {name: value for name, value in context.obj.items() if name in NAMES}
    if copc and asked.setdefault("output", "copc") != "copc":
        raise typer.BadParameter(f"answers cannot be COPC and {asked['output']}.", param_hint="--copc")
    options = parse(asked)
    given = {name: value for name, value in context.obj.items() if name not in NAMES}
    if url:
        refuse_with_url(given)
        others = {"--ray": ray, "--dry-run": dry_run, "--buffer-only": buffer_only, "--name": name != NAME}
        _refuse_with_url(others | {"--manifest": manifest, f"-o {out}": remote.scheme_or_none(out)})
        from . import survey_job

        code = survey_job.run(sources, Path(out).absolute(), url, key, asked, buffer, retry_failed, force)
        raise typer.Exit(code)
    settings = _patient(configure(**given, default_model=options.model or None))
    try:
        place = target.absolute(out)
    except BadRequest as problem:
        raise typer.BadParameter(problem.detail, param_hint="--out") from None
    folder = _manifest_folder(place, manifest)
    try:
        wanted = Wanted(place, options, name, buffer, retry_failed, force)
    except BadRequest as problem:
        raise typer.BadParameter(problem.detail, param_hint="--name") from None
    if dry_run:
        survey_plan.show(sources, buffer_only or [], wanted, folder, settings)
        return
    with Manifest.create(folder) as opened:
        code = _run(opened, sources, buffer_only or [], wanted, settings, ray)
    if code:
        raise typer.Exit(code)


def _manifest_folder(out: str, given: Path | None) -> Path:
    """Where the manifest is of a survey whose answers go to ``out``: there, but for an object store here."""
    from app.survey import remote

    if not remote.scheme(out):
        if given:
            raise typer.BadParameter("answers in a folder have their manifest there.", param_hint="--manifest")
        return Path(out)
    if given:
        return given.absolute()
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    name = re.sub(r"[^\w.-]+", "_", out.partition("://")[2])[-NAME_CHARS:]
    folder = state / "pointserve" / "surveys" / f"{name}-{hashlib.sha256(out.encode()).hexdigest()[:8]}"
    messages.print(f"The manifest of {out} is in {folder}", markup=False, soft_wrap=True)
    return folder


def _refuse_with_url(given: Mapping[str, object]) -> None:
    """Raise typer.BadParameter if an option among ``given`` has a value: a job of a server knows nothing of these."""
    names = [name for name, value in given.items() if value]
    if names:
        raise typer.BadParameter(
            "with --url the server plans the survey and names the answers, which go to a folder of this machine: "
            f"leave {', '.join(names)} out."
        )


def _patient(settings: "Settings") -> "Settings":
    """``settings`` without the bounds that a service has, and with more patience where they state none."""
    patience = {name: value for name, value in PATIENT.items() if name not in settings.model_fields_set}
    return settings.model_copy(update=UNBOUNDED | patience)


@contextmanager
def _workers(settings: "Settings", ray: str) -> "Iterator[Workers]":
    """Those of the Ray cluster at the address ``ray``, or of this machine if it is empty."""
    if ray:
        try:
            from app.survey.ray_workers import RayWorkers
        except ImportError:
            raise typer.BadParameter(
                "Ray is not installed: pip install 'pointserve[ray]' does that.", param_hint="--ray"
            ) from None
        yield RayWorkers(ray, settings)
        return
    from app.diagnostics.machine import usable_cores
    from app.engine.service import Service
    from app.survey.local import LocalWorkers, readers_for

    if "readers" not in settings.model_fields_set:
        settings = settings.model_copy(update={"readers": readers_for(usable_cores())})
    service = Service(settings)
    service.start()
    try:
        yield LocalWorkers(service, settings)
    finally:
        service.stop(0.0)


def _run(
    manifest: "Manifest", sources: list[str], buffer_only: list[str], wanted: "Wanted", settings: "Settings", ray: str
) -> int:
    """Label the survey; the exit code."""
    from app.survey import survey
    from app.survey.answers import PARTIAL
    from app.survey.big_tiles import BigTiles
    from app.survey.plan import Plan
    from app.survey.runner import Runner

    from . import survey_progress

    with messages.status("looking at the files"):
        survey.read(manifest, sources, wanted, buffer_only)
    with _workers(settings, ray) as workers:
        with messages.status("loading the model, and planning"):
            plan = Plan(manifest, workers.model(wanted.options), wanted)
        survey.describe(manifest, plan)
        for warning in plan.index.warnings():
            warn(warning)
        with survey_progress.shown() as show:
            big_tiles = BigTiles(workers, manifest.folder / PARTIAL, plan.buffer_m)
            runner = Runner(manifest, plan, big_tiles, lambda progress: show(progress, big_tiles.stages))
            with survey_progress.signals_call(runner.stop) as signals:
                done = runner.run()
    unwritten = survey.finish(manifest, wanted.out)
    survey_progress.sum_up(manifest, done, unwritten)
    if signals:
        return 128 + signals[0]
    return 1 if done.stopped or unwritten or survey_progress.num_failed(manifest) else 0
