"""The operators beside what users have today, on the processor: the whole table in one run.

    python benchmarks/operators.py [--repeats 9] [--output FILE] [--without-peers]
    python benchmarks/operators.py --scale 0.01 --repeats 1

Prints tables in Markdown and writes them to benchmarks/results/operators-cpu.md, or to --output; a trial with another
scale is written to --output alone. Peers that are not installed are told with what brings them, and a file that is
there is then left as it is unless --without-peers is given. Each section also runs by itself:
`python benchmarks/convolution.py`, neighbours.py, clustering.py, serialization.py, every.py.
"""

import sys
from pathlib import Path

import clustering
import convolution
import every
import neighbours
import peers
import scipy
import serialization
from table import Tables, parser
from timing import machine

RESULTS = Path(__file__).parent / "results/operators-cpu.md"
SECTIONS: dict[str, Tables] = {
    "Kernel maps and convolutions": convolution.tables,
    "Neighbours and samples": neighbours.tables,
    "Ball query and clustering of PointGroup": clustering.tables,
    "Serialization, segments, patches": serialization.tables,
    "Every operator": every.tables,
}


def main() -> None:
    """Measure, print, write."""
    options = parser(__doc__)
    options.add_argument("--output", type=Path, help=f"default: {RESULTS.name} of benchmarks/results, at scale 1")
    options.add_argument("--without-peers", action="store_true", help="overwrite the output though peers are missing")
    arguments = options.parse_args()
    output = arguments.output or (RESULTS if arguments.scale == 1 else None)
    missing = ", ".join(peers.missing())
    if missing and output and output.exists() and not arguments.without_peers:
        sys.exit(
            f"{output} is left as it is, for what stands beside the operators in it is missing here: {missing}. "
            "Install it, write elsewhere with --output, or give --without-peers"
        )
    told = f"Milliseconds: median (fastest–slowest) of {arguments.repeats} rounds in turns."
    parts = ["# Operators on the processor\n", f"{machine()}, SciPy {scipy.__version__}, {peers.versions()}. {told}\n"]
    print(*parts, sep="\n", flush=True)
    for section, tables in SECTIONS.items():
        parts.append(f"## {section}\n")
        print(parts[-1])
        for table in tables(arguments.scale, arguments.repeats):
            parts.append(str(table))
            print(parts[-1], flush=True)
    if output:
        output.write_text("\n".join(parts))


if __name__ == "__main__":
    main()
