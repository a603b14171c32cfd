"""Tables of the processor with the figures of another checkout beside those of this one, measured in one run.

    python -m benchmarks.before_after ../before [--only neighbours networks modes] [--repeats 3] [--tiles TILE.laz …]

runs neighbours.py, networks.py and modes.py on the packages of both, networks row by row in turns, and writes
benchmarks/results/<name>-cpu.md. A cell in which the two differ is "before → after". The libraries of the other
checkout must have been built in their folders. ``--tiles`` are for modes.py; both run the goldens of this checkout.
Threads sleep while they wait, as those of the service do.
"""

import argparse
import itertools
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from app.engine.threads import thread_environment
from benchmarks.checkouts import package_paths
from benchmarks.timing import machine

ROOT = Path(__file__).parents[1]
NETWORKS = ("SpUNet", "PT-v3m1")
VOXELS = ("20000", "50000", "100000")
NOTES = {
    "neighbours": "Milliseconds: median (least–most); trees are built in the time.",
    "networks": "Seconds: median (fastest–slowest), float32; `networks.py` says what upstream's are.",
    "modes": "Seconds of one run each: clock (processor).",
}
TITLES = {
    "neighbours": "Neighbours and samples on the processor",
    "networks": "Networks on the processor",
    "modes": "Modes",
}


def commands(name: str, repeats: int, tiles: Sequence[Path]) -> list[list[str]]:
    """Arguments of the measurement ``name``, one list for each run of a checkout."""
    if name == "neighbours":
        return [["--repeats", str(repeats)]]
    if name == "networks":
        rows = itertools.product(NETWORKS, VOXELS)
        return [["--networks", network, "--voxels", size, "--repeats", str(repeats)] for network, size in rows]
    return [["--golden", str(ROOT / "tests/golden"), *(str(tile.resolve()) for tile in tiles)]]


def measured(root: Path, name: str, arguments: Sequence[str]) -> list[str]:
    """What benchmarks/<name>.py of this checkout prints of the packages of the one at ``root``, in lines."""
    environment = os.environ | thread_environment() | {"PYTHONPATH": package_paths(root)}
    script = [sys.executable, str(ROOT / f"benchmarks/{name}.py"), *arguments]
    run = subprocess.run(script, cwd=root, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return run.stdout.splitlines()


def beside(before: Iterable[str], after: Iterable[str]) -> list[str]:
    """Titles and tables of ``after`` with the cells of ``before`` in front of those that differ."""
    old, new = ([line for line in lines if line.startswith(("|", "##"))] for lines in (before, after))
    return [_beside(*pair) for pair in zip(old, new, strict=True)]


def _beside(before: str, after: str) -> str:
    if not after.startswith("|"):
        return after
    cells = zip(before.split("|"), after.split("|"), strict=True)
    return "|".join(new if old == new else f"{old}→{new}" for old, new in cells)


def joined(runs: Sequence[list[str]]) -> str:
    """The lines of ``runs`` as Markdown; what all begin with, the head of a table, is there once."""
    alike = itertools.takewhile(lambda lines: len(set(lines)) == 1, zip(*runs, strict=False))
    head = [line for line, *_ in alike]
    lines = [*head, *itertools.chain.from_iterable(run[len(head) :] for run in runs)]
    text = "\n".join(f"\n{line}\n" if line.startswith("#") else line for line in lines)
    return text.strip() + "\n"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path)
    parser.add_argument("--only", nargs="+", choices=TITLES, default=list(TITLES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tiles", type=Path, nargs="*", default=[])
    arguments = parser.parse_args()
    roots = [arguments.other.resolve(), ROOT]
    for name in arguments.only:
        runs = []
        for number, command in enumerate(commands(name, arguments.repeats, arguments.tiles)):
            ways = roots[:: 1 if number % 2 else -1]
            found = {root: measured(root, name, command) for root in ways}
            runs.append(beside(*(found[root] for root in roots)))
        head = (
            f"# {TITLES[name]}\n\n{machine()}. Before → after: {_commit(roots[0])} → {_commit(ROOT)}. {NOTES[name]}\n\n"
        )
        text = head + joined(runs)
        print(text, flush=True)
        (ROOT / f"benchmarks/results/{name}-cpu.md").write_text(text)


def _commit(root: Path) -> str:
    describe = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude", "*"]
    return subprocess.run(describe, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
