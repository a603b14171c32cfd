"""Builds sparseops._compiled; see csrc/common/building.py."""

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER / "csrc/common"))

from building import build  # noqa: E402

build("sparseops", FOLDER, units=["radix_sort.cu", "scan.cu"], specific=["9.0"])
