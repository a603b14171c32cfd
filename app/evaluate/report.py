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
        "area_m2": found.area.figures() | {"cell_m": found.cell_m},
        "intervals": {
            name: {"low": each.low.tolist(), "high": each.high.tolist()} for name, each in found.intervals.items()
        },
        "resamples": found.resamples,
        "seed": found.seed,
        "by_height": _views(found.heights),
        "height": found.bases,
        "by_edge_distance": _views(found.edges),
        "tiles": _views(found.tiles),
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


def _views(views: list[tuple[str, Confusion]]) -> list[dict[str, Any]]:
    return [{"name": name, **confusion.figures()} for name, confusion in views]


REPORTS: dict[str, Callable[[Evaluation], str]] = {".html": page, ".md": markdown, ".json": json}
"""What writes a report, by the ending of its file."""
