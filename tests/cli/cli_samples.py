"""How the tests start commands."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXPERIMENT = ROOT / "tests/golden/experiments/scannet-semseg-spunet-v1m1-0-base"


def command(*arguments):
    return [sys.executable, "-m", "app.cli", *map(str, arguments)]


def environment(**extra):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("POINTSERVE_")}
    return kept | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"} | extra
