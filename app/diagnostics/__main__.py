"""``python -m app.diagnostics [--json]``: print the report; exit code 0 where serving works, else 1."""

import argparse
import json
import sys

from rich.console import Console

from .report import report
from .table import show


def main() -> int:
    """Print the report and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m app.diagnostics", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    facts = report()
    if arguments.json:
        print(json.dumps(facts, indent=2))
    else:
        show(facts, Console())
    return 0 if facts["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
