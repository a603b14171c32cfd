"""The commands of docs/refine.md do what is said there."""

import re
import shlex

import laspy
import numpy as np

from tests.cli.cli_samples import ROOT

DOCUMENT = ROOT / "docs/refine.md"


def commands():
    """Every command of the document."""
    blocks = re.findall(r"```sh\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def test_commands_of_the_document_work(tmp_path, pointserve, monkeypatch):
    said = []
    for command in commands():
        name, *words = shlex.split(command)
        assert name == "pointserve"
        words = [f"{tmp_path}/{word}" if re.search(r"\.(laz|ply|json|geojson)$", word) else word for word in words]
        done = pointserve(*words)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        said.append(done.stdout)
    (changed,) = re.findall(r"unclassified changed ([\d,]+) points", said[1])
    codes = np.asarray(laspy.read(tmp_path / "labelled.laz").classification)
    assert np.count_nonzero(codes == 1) == int(changed.replace(",", "")) > 0
