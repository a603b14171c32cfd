"""An evaluation as one HTML file that needs no network, no other file and no JavaScript."""

import time

from jinja2 import Environment, PackageLoader

from app.evaluate import plots
from app.evaluate.evaluation import Evaluation
from app.evaluate.tables import tables


def page(found: Evaluation) -> str:
    """The HTML: plots, tables, what failed."""
    drawn = [plots.class_bars(found.points, found.intervals)]
    if len(found.tiles) > 1:
        drawn.append(plots.tile_dots(found.tiles))
    drawn.append(plots.view_lines("IoU by height", found.heights))
    drawn.append(plots.view_lines("IoU by distance to the edge of the tile", found.edges))
    if found.calibration:
        drawn.append(plots.reliability(found.calibration))
    template = Environment(loader=PackageLoader("app.evaluate"), autoescape=True).get_template("evaluation.html")
    return template.render(
        words=found.words,
        plots=drawn,
        width=plots.WIDTH,
        tables=tables(found),
        notes=found.note_lines,
        failures=found.failures,
        written=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    )
