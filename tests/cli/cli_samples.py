"""How the tests start commands."""

import os
import re
import shlex
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXPERIMENT = ROOT / "tests/golden/experiments/scannet-semseg-spunet-v1m1-0-base"


def command(*arguments):
    return [sys.executable, "-m", "app.cli", *map(str, arguments)]


def documented(document, *left_out):
    """What follows ``pointserve``, as words, in each command of a document but those that match one of ``left_out``."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    given = [shlex.split(line) for line in lines if not any(re.search(each, line) for each in left_out)]
    assert {name for name, *_ in given} == {"pointserve"}
    return [words for _, *words in given]


def environment(**extra):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("POINTSERVE_")}
    return kept | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"} | extra
