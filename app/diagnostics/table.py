"""The report as a table in the terminal."""

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .libraries import miss

STYLES = {"ok": "green", "compiled": "green", "reference": "yellow", "absent": "dim", "broken": "red"}
GIB = 1 << 30


def show(report: dict[str, Any], console: Console) -> None:
    """Print ``report`` as one table and the list of problems."""
    table = Table("part", "state", title=f"pointserve {report['pointserve'] or '(not installed)'}")
    table.add_column("detail", overflow="fold")
    for part, state, detail in _rows(report):
        table.add_row(part, f"[{STYLES.get(state, '')}]{state}[/]" if state in STYLES else state, detail)
    console.print(table)
    if "timings" in report:
        console.print(_deep(report))
    for problem in report["problems"]:
        style = "red" if problem["required"] else "yellow"
        name = f" ({problem['fault']})" if problem["fault"] else ""
        line = f"{problem['problem']}{name}\n  → {problem['remedy']}"
        console.print(f"[{style}]{problem['part']}[/]: {escape(line)}", highlight=False)
    console.print(_verdict(report))


def _deep(report: dict[str, Any]) -> Table:
    table = Table("what", "device", "result", title="run and timed")
    table.add_column("ms", justify="right")
    for library in report["timings"]:
        for work in library["operators"]:
            result = "[green]ok[/]" if work["ok"] else f"[red]{escape(miss(work))}[/]"
            table.add_row(f"{library['name']}.{work['operator']}", work["device"], result, f"{work.get('ms', '')}")
    for entry in report["forward"]:
        result = escape(entry.get("reason", ""))
        if "right" in entry:
            result = f"{entry['right']:.1%} of {entry['points']} points, {entry['precision']}"
        style = "green" if entry["ok"] else "red"
        table.add_row("forward pass", entry["device"], f"[{style}]{result}[/]", f"{entry.get('ms', '')}")
    return table


def _verdict(report: dict[str, Any]) -> str:
    if not report["ok"]:
        return "[red]Serving will not work.[/]"
    slow = [entry["name"] for entry in report["operators"] if entry["state"] == "reference"]
    if slow:
        return f"[yellow]Serving works, but slowly: {', '.join(slow)} runs without its compiled operators.[/]"
    return "[green]All that serving needs is in place.[/]"


def _rows(report: dict[str, Any]) -> list[tuple[str, str, str]]:
    cpu, memory, torch = report["cpu"], report["memory"], report["torch"]
    limit = f", limit {memory['limit_bytes'] / GIB:.1f} GiB" if memory["limit_bytes"] else ""
    rows = [
        ("python", "ok", f"{report['python']['version']}  {report['python']['executable']}"),
        ("platform", "ok", report["platform"]),
        ("environment", report["environment"]["state"], _environment(report["environment"])),
        ("processor", "ok", f"{cpu['model']}, {cpu['usable_cores']} of {cpu['cores']} cores, {' '.join(cpu['flags'])}"),
        ("memory", "ok", f"{memory['total_bytes'] / GIB:.1f} GiB{limit}"),
        ("torch", torch["state"], _torch(torch)),
        ("driver", report["driver"]["state"], _detail(report["driver"])),
        ("to compile", "ok" if report["build"]["compiler"] else "absent", _build(report["build"])),
    ]
    rows += [(f"cuda:{device['index']}", *_device(device)) for device in report["devices"]]
    rows += [(f"operators {entry['name']}", entry["state"], _operators(entry)) for entry in report["operators"]]
    rows += [(entry["name"], entry["state"], _detail(entry)) for entry in (*report["libraries"], *report["stack"])]
    return rows


def _environment(environment: dict[str, Any]) -> str:
    return environment.get("reason") or environment["name"] or "no conda environment"


def _build(build: dict[str, Any]) -> str:
    nvcc = f"nvcc {build['nvcc']}" if build["nvcc"] else "no nvcc"
    compiler = f"g++ {build['compiler']}" if build["compiler"] else "no g++"
    return f"{compiler}, {nvcc}, {build['jobs']} at once"


def _torch(torch: dict[str, Any]) -> str:
    if torch["state"] != "ok":
        return _detail(torch)
    cuda = f"CUDA {torch['cuda']}, cuDNN {torch['cudnn']}" if torch["cuda"] else "for processors only"
    return f"{torch['version']}, {cuda}, {torch['threads']} threads"


def _device(device: dict[str, Any]) -> tuple[str, str]:
    memory_gib = device["memory_bytes"] / GIB
    detail = f"{device['name']}, {memory_gib:.0f} GiB, capability {device['compute_capability']}, {device['uuid']}"
    return ("ok" if device["supported"] else "broken"), detail


def _operators(entry: dict[str, Any]) -> str:
    if "checks" not in entry or "reason" in entry:
        return _detail(entry)
    agree = f"{len(entry['checks'])} checks agree with torch"
    return ", ".join([*entry["architectures"], agree])


def _detail(entry: dict[str, Any]) -> str:
    return entry.get("reason") or entry.get("version") or ""
