"""``python -m app.diagnostics``: prints the report; exit code 0 if serving works, else 1.

``--json`` and ``--log`` need nothing but Python, so that they also say what is wrong if nothing is installed.
"""

import argparse
import json
import os
import sys

from .faults import explain
from .report import LIMIT_S, report

PRIORITY, PATIENCE_S = 10, 90.0  # of --background, where others have the processor


def main() -> int:
    """Print the report and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m app.diagnostics", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--deep", action="store_true", help="run and time every operator and the bundled model")
    parser.add_argument("--background", action="store_true", help="leave the processor to others that want it")
    parser.add_argument(
        "--settings",
        action="store_true",
        help="take those of models from standard input, as JSON, instead of the environment",
    )
    parser.add_argument("--log", metavar="FILE", help="name the known faults that this log of a build or a run shows")
    arguments = parser.parse_args()
    if arguments.log:
        try:
            return explain(arguments.log)
        except OSError as error:
            parser.error(f"the log cannot be read: {error}")
    if arguments.background:
        os.nice(PRIORITY)
    settings = json.load(sys.stdin) if arguments.settings else None
    facts = report(PATIENCE_S if arguments.background else LIMIT_S, arguments.deep, settings)
    if arguments.json:
        print(json.dumps(facts, indent=2))
    else:
        from rich.console import Console

        from .table import show

        show(facts, Console())
    return 0 if facts["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
