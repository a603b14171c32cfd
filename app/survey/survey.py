"""A survey from its sources to what is left of it at the end, for all that run one."""

import importlib.metadata
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial

from app.errors import NoRoom, NotReady
from app.survey import headers, remote, report, sources, vpc
from app.survey.manifest import Manifest
from app.survey.plan import Plan, Wanted
from app.survey.row import State

VPC = "survey.vpc"


def read(manifest: Manifest, given: Sequence[str], wanted: Wanted, buffer_only: Sequence[str] = ()) -> int:
    """Make the files of the sources ``given`` the tiles of the survey that is ``wanted``; how many there are.

    Raises what ``sources.find`` raises.
    """
    return manifest.plan(headers.tiles(sources.find(given, wanted.out, buffer_only), wanted.options))


def describe(manifest: Manifest, plan: Plan) -> None:
    """Write into the manifest what is being done with the survey, and into an object store a first report.

    So a store that cannot be written shows before anything is labelled: raises what ``target.write`` does.
    """
    program = ""
    with suppress(importlib.metadata.PackageNotFoundError):
        program = importlib.metadata.version("pointserve")
    manifest.set(
        program=program,
        model={"name": plan.model.name, "digest": plan.model.digest, "classes": plan.model.classes},
        options=asdict(plan.wanted.options),
        buffer_m=plan.buffer_m,
        out=plan.wanted.out,
        warnings=plan.index.warnings(),
    )
    if remote.scheme(plan.wanted.out):
        report.write(manifest, f"{plan.wanted.out}/{report.FILE}")


def finish(manifest: Manifest, out: str) -> list[str]:
    """Write what shows the whole survey as it is now, beside the answers: a report, and a virtual point cloud of them.

    Returns a sentence for each of the two that cannot be written; the one of before is still there then.
    """
    done = ((row.tile.name, row.output) for row in manifest.rows(State.DONE))
    problems = []
    for write in (partial(report.write, manifest, f"{out}/{report.FILE}"), partial(vpc.write, f"{out}/{VPC}", done)):
        try:
            write()
        except (NoRoom, NotReady) as problem:
            problems.append(problem.detail)
    return problems
