"""``pointserve predict``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import remote
from .clouds import jobs_of
from .configuration import configure, refuse_with_url
from .device import open_device
from .job import FileJob, work_through
from .models import choose
from .options import with_prediction, with_settings
from .output import write_file
from .scores import Scores
from .terminal import advancing, passes_of, paused, progress, results, warn

if TYPE_CHECKING:
    from app.clouds.cloud import Cloud, Segmentation
    from app.options import Options
    from app.pipeline.segmenter import Segmenter
    from app.settings import Settings


@with_settings(of_models=True)
@with_prediction("filename", "timeout_s")
def predict(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="Point clouds, and folders of such.")],
    out: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--out",
            metavar="PATH",
            help="A file for one cloud, a folder for several or if it ends in /; there a cloud keeps its format, or "
            "becomes laz where that is not written. With --score it may be left out.",
        ),
    ] = None,
    score: Annotated[bool, typer.Option("--score", help="Compare with the classification in FILES.")] = False,
    url: Annotated[str, typer.Option(help="Ask the server at this address, instead of computing here.")] = "",
    key: Annotated[str, typer.Option(help="Key for that server.", envvar="POINTSERVE_KEY", show_default=False)] = "",
) -> None:
    """Give every point of FILES a class, in this process or by a server, and write the clouds with their classes.

    A cloud that cannot be read does not end the others: what failed is summed up at the end, with exit code 1.
    """
    from app.option_text import parse
    from app.options import NAMES

    if out is None and not score:
        raise typer.BadParameter("say where the clouds go, or ask for --score.", param_hint="-o")
    asked = {name: value for name, value in context.obj.items() if name in NAMES}
    overridden = {name: value for name, value in context.obj.items() if name not in NAMES}
    chosen = parse(asked)
    jobs = jobs_of(files, out, chosen.output)
    if url:
        refuse_with_url(overridden)
        remote.predict(jobs, url, key, asked, score)
        return
    settings = configure(**overridden, default_model=chosen.model or None)
    scores = Scores()
    with progress() as bar:
        task = bar.add_task("loading the model", total=len(jobs))
        segmenter = _segmenter(settings).for_options(chosen)
        limited = chosen if chosen.mode.is_single_pass else chosen.or_else(max_passes=lambda: settings.max_passes)
        if score:
            from app.clouds.comparison import Comparison
            from app.refine.legend import Legend, codes_of

            own = segmenter.procedure.classes
            legend = Legend(own, codes_of(chosen.classes, own))
            legend.recode()
            Comparison.of_model(legend.known, segmenter.procedure.name)

        def work(job: FileJob) -> None:
            bar.update(task, description=f"reading {job.file.name}")
            data = job.read()
            cloud = _read(data, job, settings, chosen)
            bar.update(task, description=f"segmenting {job.file.name}, {len(cloud):,} points")
            with passes_of(bar) as on_passes:
                segmentation = segmenter.segment(cloud, limited, on_passes=on_passes)
            if job.path:
                bar.update(task, description=f"writing {job.path}")
                write_file(job.path, _encode(job.output, cloud, segmentation, data))
            with paused(bar):
                _show(job, cloud, segmentation)
                if score:
                    scores.add(job, cloud, segmentation)

        try:
            work_through(jobs, advancing(bar, task, work))
        finally:
            with paused(bar):
                scores.print_pooled()


def _segmenter(settings: "Settings") -> "Segmenter":
    folders = choose(settings)
    device = open_device(settings)

    from app.pipeline.ensemble import together
    from app.zoo.loading import load_model

    return together([load_model(folder, settings).segmenter(device) for folder in folders])


def _read(data: memoryview, job: FileJob, settings: "Settings", options: "Options") -> "Cloud":
    from app.clouds import formats
    from app.errors import Problem

    try:
        return formats.read(data, max_points=settings.max_points, **options.reading | {"filename": job.filename})
    except Problem as problem:
        raise type(problem)(f"{job.file}: {problem.detail}") from problem


def _encode(output: str, cloud: "Cloud", segmentation: "Segmentation", source: memoryview) -> bytes:
    from app.clouds import formats

    return formats.write(output, cloud, segmentation, source)


def _show(job: FileJob, cloud: "Cloud", segmentation: "Segmentation") -> None:
    from .tables import counts_table, refined_words

    meta = segmentation.meta
    for warning in meta.warnings:
        warn(f"{job.file.name}: {warning}")
    results.print(counts_table(job.title, segmentation))
    total_s = 1e-3 * sum(meta.timings_ms.values())
    passes = f", {meta.passes} passes" if meta.passes > 1 else ""
    results.print(f"{len(cloud):,} points by {meta.model} in {total_s:.2f} s{passes}", markup=False, soft_wrap=True)
    if meta.refined:
        results.print(f"  {refined_words(meta.refined)}", markup=False, soft_wrap=True)
    stages = ", ".join(f"{name} {1e-3 * spent_ms:.2f} s" for name, spent_ms in meta.timings_ms.items())
    results.print(f"  {stages}", markup=False, soft_wrap=True)
