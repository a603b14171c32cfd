"""What the distribution is made of: what it imports, its types, its options, its problems."""

import re
import subprocess
import sys
from pathlib import Path

import pointserve_client
import pytest
from pointserve_client.errors import KINDS

from app.errors import ClientGone, Problem

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "libs/pointserve_client"
NEEDED = {"httpx2", "numpy"}
USE = """
import asyncio
from pathlib import Path
import numpy as np
from pointserve_client import AsyncClient, Client, Prediction

client = Client("http://localhost:5001", "key", timeout_s=5)
found: Prediction = client.predict(np.zeros((3, 3)), fields=["confidence"], seed=3)
client.predict_file(Path("a.laz"), "b.laz", output="laz", mode="exact")


async def ask() -> Prediction:
    async with AsyncClient("http://localhost:5001") as client:
        return await client.predict(b"cloud", columns=["x", "y", "z"])


client.predict(3)  # arg-type
client.predict(b"cloud", sed=3)  # call-arg
client.predict(b"cloud", fields=["nonsense"])  # list-item
client.predict_file("a", "b", output="doc")  # arg-type
"""


def test_importing_it_loads_neither_torch_nor_flask_nor_the_service():
    code = "import sys, pointserve_client; print(*sorted(name.partition('.')[0] for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not {"torch", "flask", "app", "pydantic", "scipy", "requests"} & set(done.stdout.split())


def test_it_names_what_it_imports():
    text = "".join(path.read_text() for path in (PACKAGE / "pointserve_client").glob("*.py"))
    imported = set(re.findall(r"^(?:import|from) (\w+)", text, re.MULTILINE))
    assert imported - set(sys.stdlib_module_names) - {"pointserve_client"} == NEEDED
    listed = (PACKAGE / "pyproject.toml").read_text().partition("dependencies = [")[2].partition("]")[0]
    assert set(re.findall(r'"([a-z0-9]+)>=', listed)) == NEEDED


@pytest.mark.slow
def test_its_types_are_strict_and_find_mistakes(tmp_path):
    (tmp_path / "use.py").write_text(USE)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "", "use.py"]
    environment = {"MYPYPATH": str(PACKAGE), "PATH": ""}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=300)
    found = re.findall(r"^use\.py:(\d+): error: .*\[([a-z-]+)\]$", done.stdout, re.MULTILINE)
    expected = [
        (str(number), line.partition("  # ")[2]) for number, line in enumerate(USE.split("\n"), 1) if "  # " in line
    ]
    assert found == expected, done.stdout
    assert done.stdout.count("error:") == len(expected)


def test_every_problem_of_the_service_is_one_of_its_own():
    kinds = [Problem, *Problem.__subclasses__()]
    told = {kind.status for kind in kinds} - {Problem.status, ClientGone.status}  # nobody reads the latter
    assert told == set(KINDS) - {Problem.status}
    assert {kind.__name__ for kind in KINDS.values()} <= set(pointserve_client.__all__)
