"""The commands of docs/surveys.md do what is said there."""

import re
import shlex

from tests.cli.cli_samples import ROOT

DOCUMENT = ROOT / "docs/surveys.md"


def commands():
    """Every command of the document that needs no store elsewhere, and no cluster."""
    blocks = re.findall(r"```sh\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if not re.search("://|ray ", line)]


def test_commands_of_the_document_work(tmp_path, pointserve):
    given = commands()
    assert any("batch" in command for command in given)
    for command in given:
        name, *words = shlex.split(command)
        assert name == "pointserve"
        words = [re.sub(r"^(tiles|labelled)", rf"{tmp_path}/\1", word) for word in words]
        done = pointserve(*words)
        assert done.returncode == 0, f"{command}: {done.stderr}"
    found = {path.name for path in (tmp_path / "labelled").iterdir()}
    assert {"a.laz", "b.laz", "survey.db", "report.html", "survey.vpc"} <= found
