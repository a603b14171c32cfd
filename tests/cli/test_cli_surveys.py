"""The commands of docs/surveys.md do what is said there."""

import re

from tests.cli.cli_samples import documented


def test_commands_of_the_document_work(tmp_path, pointserve):
    given = documented("docs/surveys.md", "://", "ray ")  # no store elsewhere, and no cluster
    assert any("batch" in words for words in given)
    for words in given:
        done = pointserve(*(re.sub(r"^(tiles|labelled)", rf"{tmp_path}/\1", word) for word in words))
        assert done.returncode == 0, f"{words}: {done.stderr}"
    found = {path.name for path in (tmp_path / "labelled").iterdir()}
    assert {"a.laz", "b.laz", "survey.db", "report.html", "survey.vpc"} <= found
