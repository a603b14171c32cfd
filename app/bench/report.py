"""Figures as Markdown."""

from collections.abc import Mapping, Sequence

from app.bench.figures import PERCENTILES, Figures

CELLS = ["answers", *(f"p{share}" for share in PERCENTILES), "longest", "requests/s", "points/s"]
MEMORY_CELLS = ("first", "last", "highest", "growth_an_hour")


def report(found: Figures) -> str:
    """Tables and lines, as they are printed."""
    parts = [_answers(found), _table(["cloud", *CELLS], _rows(found)), _stages(found), _engines(found["engines"])]
    parts.append(_memory(found["memory"]))
    live = found["live"]
    parts.append(
        f"/health/live: {live['asked']} answers, the longest after {live['longest_s']:.3f} s; none: {live['silent']}."
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _answers(found: Figures) -> str:
    statuses = ", ".join(f"{status}: {count}" for status, count in found["statuses"].items())
    return f"In {found['elapsed_s']:.1f} s; answers by status: {statuses or 'none'}; wrong labels: {found['wrong']}."


def _rows(found: Figures) -> list[list[str]]:
    return [[label, *speed_cells(speed)] for label, speed in {**found["clouds"], "all": found}.items()]


def speed_cells(speed: Figures) -> list[str]:
    """Cells under ``CELLS``."""
    seconds = [f"{speed[name]:.3f} s" if name in speed else "–" for name in (f"p{share}_s" for share in PERCENTILES)]
    return [
        str(speed["answers"]),
        *seconds,
        f"{speed['longest_s']:.3f} s",
        f"{speed['requests_a_s']:.2f}",
        f"{speed['points_a_s']:,.0f}",
    ]


def _stages(found: Figures) -> str:
    if not found["stages_ms"]:
        return ""
    rows = [["mean ms", *(f"{ms:.1f}" for ms in found["stages_ms"].values())]]
    shares = (
        f"Of the time but for the queue, {found['outside_network']:.1%} is outside voxelize, plan and network, "
        f"{found['outside_pipeline']:.1%} outside the pipeline (upload, decoding, encoding, answer, waits)."
    )
    return f"{_table(['stage', *found['stages_ms']], rows)}\n\n{shares}"


def _engines(engines: Sequence[Figures]) -> str:
    rows = [
        [
            f"{engine['device']} {engine['name']}".strip(),
            f"{engine['busy']:.0%}",
            f"{engine['device_busy']:.0%}",
            str(engine["restarts"]),
            f"{engine['memory_mib']:.0f}",
        ]
        for engine in engines
    ]
    return _table(["engine", "has clouds", "device busy", "restarts", "device memory, MiB"], rows) if rows else ""


def _memory(memory: Mapping[str, Figures]) -> str:
    if not memory:
        return "Memory of its processes: unknown, as it runs elsewhere."
    shown = [name for name in MEMORY_CELLS if any(name in values for values in memory.values())]
    rows = [
        [kind, *(f"{values[name]:.0f}" if name in values else "–" for name in shown)] for kind, values in memory.items()
    ]
    return _table(["MiB", *(name.replace("_", " ") for name in shown)], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
