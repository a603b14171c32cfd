"""docs/image.md says of every command whether it was run."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
MARKS = ("run", "rehearsed", "engine", "GPU", "cluster")


def test_every_command_has_a_mark():
    text = (ROOT / "docs/image.md").read_text()
    commands = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    assert len(commands) > 20
    for command in commands:
        assert re.search(rf"  # \[({'|'.join(MARKS)})\]", command), command


def test_scripts_and_files_that_it_names_are_there():
    text = (ROOT / "docs/image.md").read_text()
    for name in re.findall(r"`((?:deploy|tests|libs|docs)/[\w./-]+)`", text):
        assert (ROOT / name).exists(), name
