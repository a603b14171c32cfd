"""The report of a survey: one HTML file that needs no network and no other file."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jinja2 import ChoiceLoader, Environment, PackageLoader

from app.clouds import reference
from app.clouds.cloud import ClassInfo
from app.evaluate.tables import Table, class_table, confusion_table, ratio
from app.survey import classes, remote, target
from app.survey.manifest import FILE as MANIFEST
from app.survey.manifest import Manifest
from app.survey.overview import Overview
from app.survey.row import Row, State
from app.survey.warnings import Warnings

FILE = "report.html"
FAILURES_SHOWN = 200
WARNINGS_SHOWN = 50
OTHER_COLOR = "transparent"  # of points without a class


def write(manifest: Manifest, path: str) -> None:
    """Write the report of the survey of ``manifest`` as ``path``, or a URL; raises what ``target.write`` does."""
    loader = ChoiceLoader([PackageLoader("app.survey"), PackageLoader("app.evaluate")])
    template = Environment(loader=loader, autoescape=True).get_template("report.html")
    target.write(path, [template.render(_content(manifest)).encode()])


@dataclass
class _Sums:
    """What is added up over the tiles of a survey."""

    tiles: Counter[State] = field(default_factory=Counter)
    points: Counter[State] = field(default_factory=Counter)
    labels: Counter[int] = field(default_factory=Counter)
    pairs: defaultdict[str, Counter[tuple[int, int]]] = field(default_factory=lambda: defaultdict(Counter))
    refined: Counter[str] = field(default_factory=Counter)
    worker_tiles: Counter[str] = field(default_factory=Counter)
    worker_points: Counter[str] = field(default_factory=Counter)
    worker_s: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    stages_ms: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    warnings: Warnings = field(default_factory=Warnings)
    failures: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, row: Row) -> None:
        self.tiles[row.state] += 1
        self.points[row.state] += row.labelled_points or row.tile.num_points or 0
        if row.state in (State.FAILED, State.QUARANTINED) and len(self.failures) < FAILURES_SHOWN:
            self.failures.append((row.tile.name, str(row.state), row.error))
        if row.state is not State.DONE:
            return
        self.labels.update(row.counts)
        self.pairs[row.reference].update({(code, label): count for code, label, count in row.agreement})
        self.worker_tiles[row.worker] += 1
        self.worker_points[row.worker] += row.labelled_points
        self.worker_s[row.worker] += row.seconds
        self.refined.update(row.refined)
        for stage, ms in row.timings_ms.items():
            self.stages_ms[stage] += ms
        self.warnings.add(row)


def _content(manifest: Manifest) -> dict[str, Any]:
    sums, overview = _Sums(), Overview()
    for row in manifest.rows():
        sums.add(row)
        overview.add(row)
    model = manifest.get("model", {})
    found = classes.answered(model, manifest.get("options", {}).get("classes", ()), sums.labels)
    num_failures = sums.tiles[State.FAILED] + sums.tiles[State.QUARANTINED]
    buffer_m = manifest.get("buffer_m", 0)
    out = manifest.get("out", "")
    is_remote = bool(remote.scheme_or_none(out))
    return {
        "title": out.rpartition("/")[2] if is_remote else manifest.folder.absolute().name,
        "states": list(State),
        "model": f"labelled by {model['name']}" if model else "not labelled yet",
        "buffer": f"with {buffer_m:g} m of context around each tile" if buffer_m else "without context around tiles",
        "program": manifest.get("program", ""),
        "written": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "manifest": str(manifest.folder.absolute() / MANIFEST) if is_remote else MANIFEST,
        "by_state": [
            (state, f"{sums.tiles[state]:,}", f"{sums.points[state]:,}") for state in State if sums.tiles[state]
        ],
        "maps": overview.maps(),
        "classes": _shares(found, sums.labels),
        "agreement": list(_agreement(found, sums)),
        "refined": [(step, f"{count:,}") for step, count in sums.refined.items()],
        "workers": list(_workers(sums)),
        "stages": {name: f"{ms / 1000:,.1f}" for name, ms in sums.stages_ms.items()},
        "failures": sums.failures,
        "failures_left": num_failures - len(sums.failures),
        "warnings": [
            *((warning, "") for warning in manifest.get("warnings", [])),
            *((warning, f"{count:,}") for warning, count in sums.warnings.most_common(WARNINGS_SHOWN)),
        ],
    }


def _shares(infos: Iterable[ClassInfo], labels: Counter[int]) -> list[dict[str, Any]]:
    """Classes that occur, in the model's order, then what has none."""
    known = {info.id: info for info in infos}
    whole = max(1, labels.total())
    named = [(info.name, f"rgb{info.color}", labels[label]) for label, info in known.items() if labels[label]]
    others = sum(count for label, count in labels.items() if label not in known)
    named += [("no class", OTHER_COLOR, others)] * bool(others)
    return [
        {"name": name, "color": color, "count": count, "points": f"{count:,}", "share": f"{count / whole:.1%}"}
        for name, color, count in named
    ]


def _agreement(infos: list[ClassInfo], sums: _Sums) -> Iterable[Table]:
    """Figures and confusion against each of the columns by which files state classes that the answers have."""
    for column, pairs in sums.pairs.items():
        comparison = reference.comparison(column, infos)
        if comparison is None or not pairs:
            continue
        codes, labels = np.array(list(pairs), np.int64).T
        found = comparison.confusion(codes, labels, np.array(list(pairs.values())))
        figures = class_table(comparison, found)
        words = (
            f"{found.judged:,} points compared with the column {column}, {found.ignored:,} of classes that no "
            f"answer has; overall accuracy {ratio(found.accuracy)}, Cohen's kappa {ratio(found.kappa)}."
        )
        yield replace(figures, words=words)
        yield confusion_table(found, "", "Points by class of the file (rows) and of the model (columns):")


def _workers(sums: _Sums) -> Iterable[tuple[str, ...]]:
    for worker, tiles in sorted(sums.worker_tiles.items()):
        points, seconds = sums.worker_points[worker], sums.worker_s[worker]
        yield worker or "–", f"{tiles:,}", f"{points:,}", f"{points / seconds:,.0f}" if seconds else "–"
