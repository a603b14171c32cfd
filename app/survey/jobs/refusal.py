"""Options with which no file can be labelled, found before a job is made of them."""

from dataclasses import replace

import numpy as np

from app.clouds.cloud import Cloud
from app.engine.packed import pack_cloud
from app.engine.service import Service
from app.errors import BadModel, BadRequest, NotFound, Problem
from app.options import Options

WAIT_S = 5.0  # for an engine that is busy

NOWHERE = Cloud(np.full((1, 3), np.nan), "npy", extra={"classification": np.zeros(1, np.uint8)})
"""A point that no network takes, with all that steps of refinement need of a file."""


def check(service: Service, options: Options) -> None:
    """Raise NotFound, BadModel or BadRequest, as ``Service.predict`` does, if there is no such model, or if it refuses
    ``options`` for any file.

    Only an engine knows that of a model, so it is asked. If it has no time now, or is not ready, nothing is raised.
    """
    try:
        with (
            service.stages.request(replace(options, timeout_s=WAIT_S)) as request,
            pack_cloud(NOWHERE) as cloud,
            service.stages.result(service.stages.submit(cloud, request), request).segmentation,
        ):
            return
    except (NotFound, BadModel, BadRequest):
        raise
    except Problem:
        return
