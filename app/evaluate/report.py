"""An evaluation as files, by their endings."""

from collections.abc import Callable
from typing import Any

import orjson

from app.confusion import Confusion
from app.evaluate.evaluation import Evaluation
from app.evaluate.markdown import markdown
from app.evaluate.page import page


def json(found: Evaluation) -> str:
    """All figures, of every tile and view; what does not exist is null."""
    comparison, calibration = found.comparison, found.calibration
    content: dict[str, Any] = {
        "classes": [
            {
                "name": name,
                "truth": _codes(comparison.truth, place),
                "predicted": _codes(comparison.predicted, place),
            }
            for place, name in enumerate(comparison.names)
        ],
        "points": found.points.figures(),
        "area_m2": _figures(found.area) | {"cell_m": found.cell_m},
        "intervals": {
            name: {"low": each.low.tolist(), "high": each.high.tolist()} for name, each in found.intervals.items()
        },
        "resamples": found.resamples,
        "seed": found.seed,
        "by_height": [{"name": name, **_figures(confusion)} for name, confusion in found.heights],
        "height": found.bases,
        "by_edge_distance": [{"name": name, **_figures(confusion)} for name, confusion in found.edges],
        "tiles": [{"name": name, **confusion.figures()} for name, confusion in found.tiles],
        "calibration": calibration
        and {
            "points": calibration.points,
            "confidence": calibration.mean_confidence,
            "accuracy": calibration.accuracy,
            "expected_error": calibration.expected_error,
        },
        "ignored": {str(code): count for code, count in found.ignored.items()},
        "notes": found.notes,
        "failures": found.failures,
    }
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_INDENT_2).decode() + "\n"


def _codes(places: Any, place: int) -> list[int]:
    return sorted(code for code, found in places.items() if found == place)


def _figures(confusion: Confusion) -> dict[str, Any]:
    """Those of a part of the judged points, or of their area, which say nothing of points that are not judged."""
    return {name: value for name, value in confusion.figures().items() if name != "ignored"}


REPORTS: dict[str, Callable[[Evaluation], str]] = {".html": page, ".md": markdown, ".json": json}
"""What writes a report, by the ending of its file."""
