"""Child process: times the bundled model on a made-up tile, on every device, and compares its classes with the truth.

Its standard input is a JSON object of the settings of models. If it is empty, they are those of the environment.
"""

import json
import sys
import time
from typing import TYPE_CHECKING, Any

from .attempt import answer, reason_of
from .operators import devices

if TYPE_CHECKING:
    from app.settings import ModelSettings

SIZE_M, POINTS_PER_M2 = 40.0, 20.0
PASSES = 3
RIGHT = 0.9


def forward(settings: "ModelSettings") -> list[dict[str, Any]]:
    """By device: model, points, precision, ms of the first and of a later pass, share of points with the right class.

    A GPU takes the precision of ``settings``; a processor, which may lack that, float32.
    """
    from app.sample.tile import make_tile
    from app.zoo.experiment import find
    from app.zoo.loading import load_model

    began_s = time.perf_counter()
    model = load_model(find("")[0], settings)
    load_ms = _since(began_s)
    tile = make_tile("town", 0, SIZE_M, POINTS_PER_M2)
    return [{"device": device, "load_ms": load_ms} | _passes(device, model, tile, settings) for device in devices()]


def _passes(device: str, model: Any, tile: Any, settings: "ModelSettings") -> dict[str, Any]:
    from app.clouds.comparison import Comparison
    from app.pipeline.segmenter import Segmenter
    from app.zoo.precision import precision_for

    experiment, network = model.experiment, model.network
    entry = {"model": experiment.name, "points": len(tile)}
    times_ms = []
    try:
        entry["precision"] = "fp32"
        if device != "cpu":
            entry["precision"] = precision_for(experiment.name, network.supports_half_precision, device, settings)
        segmenter = Segmenter(network, experiment.procedure, device, precision=entry["precision"])
        for _ in range(PASSES):
            began_s = time.perf_counter()
            found = segmenter.segment(tile)
            times_ms.append(_since(began_s))
    except Exception as error:
        return entry | {"ok": False, "reason": reason_of(error)}
    comparison = Comparison.of_model(found.meta.classes, found.meta.model)
    right = float(comparison.confusion(tile.extra["classification"], found.labels).accuracy)
    entry |= {"first_ms": times_ms[0], "ms": min(times_ms[1:]), "right": round(right, 4), "ok": right >= RIGHT}
    if not entry["ok"]:
        entry["reason"] = f"{right:.0%} of the points got their class, at least {RIGHT:.0%} should"
    return entry


def _since(began_s: float) -> float:
    return round(1e3 * (time.perf_counter() - began_s), 1)


if __name__ == "__main__":
    from app.settings import ModelSettings, Settings

    given = sys.stdin.read()
    answer(forward, ModelSettings(**json.loads(given)) if given else Settings())
