"""The documents say what is there: tables, links, options, settings, commands."""

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from app.cli.commands import app as command_line
from app.networks.registry import NETWORKS
from app.options import NAMES as OPTIONS
from app.pipeline.transforms import TRANSFORMS
from app.settings import Settings
from app.zoo.classes import NAMES as FAMILIES

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")], key=str)
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
ALL = pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)

LINK = re.compile(r"\]\(([^)\s]+)\)")
COMMAND = re.compile(r"pointserve ([a-z]+(?: (?:list|check|pull))?)\b([^\n`#]*)")
QUERY_OPTION = re.compile(r"(?<![A-Za-z_-])([a-z]+)=(?=[^=\s\"']*`)|[?&]([a-z]+)=")
SETTING = re.compile(r"POINTSERVE_([A-Z_]+[A-Z])")
OF_COMMANDS = {"KEY"}  # variables that a command reads, and the service does not
MAKE = re.compile(r"(?<![a-z] )make ([a-z]+)(?=[ `\n])")


@pytest.fixture(scope="module")
def tables():
    spec = importlib.util.spec_from_file_location("tables", ROOT / "docs" / "tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands() -> dict[str, set[str]]:
    """Options of every command by its words."""
    found: dict[str, set[str]] = {}

    def walk(command, words: list[str]) -> None:
        for name in getattr(command, "commands", {}):
            walk(command.resolve_command(None, [name])[1], [*words, name])
        found[" ".join(words)] = {option for parameter in command.params for option in parameter.opts} | {"--help"}

    walk(typer.main.get_command(command_line), [])
    return found


@pytest.mark.parametrize("document", ["README.md", "docs/clients.md", "docs/operations.md"])
def test_tables_are_those_of_the_code(tables, document):
    text = (ROOT / document).read_text()
    assert tables.filled(document, text) == text, "run `make docs`"


def test_the_file_of_settings_for_compose_is_that_of_the_code(tables):
    assert tables.ENVIRONMENT.read_text() == tables.environment(), "run `make docs`"


def test_the_options_of_the_client_are_those_of_the_service(tables):
    assert tables.CLIENT_OPTIONS.read_text() == tables.client_options(), "run `make docs`"


def test_stale_tables_and_lost_marks_are_found(tables):
    settings = (ROOT / "docs/operations.md").read_text()
    assert tables.filled("docs/operations.md", settings.replace("| `POINTSERVE_PORT`", "| `HARBOUR`")) == settings
    text = (ROOT / "README.md").read_text()
    with pytest.raises(ValueError, match="formats"):
        tables.filled("README.md", text.replace("<!-- formats -->", ""))


def test_readme_is_short():
    text = re.sub(r"<!-- (\w+) -->.*?<!-- /\1 -->", "", (ROOT / "README.md").read_text(), flags=re.DOTALL)  # no tables
    assert len(text.splitlines()) < 110


def test_ratios_to_upstream_are_those_of_the_tables_that_they_name():
    row = re.compile(
        r"^\| ([^|]*) \| ([\d.]+) m?s \| ([\d.]+) m?s, \w+ \| ([\d.]+) \| \[[\w-]+\]\(([^)]+)\) \|$", re.MULTILINE
    )
    rows = row.findall((ROOT / "README.md").read_text())
    assert len(rows) == 6
    for what, here, upstream, ratio, table in rows:
        lines = (ROOT / table).read_text().splitlines()
        measured = [re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])", line) for line in lines if line.startswith("|")]
        named = [numbers for numbers in measured if upstream in numbers and (here in numbers or ratio in numbers)]
        assert named, what
        assert float(ratio) == pytest.approx(float(upstream) / float(here), rel=0.02), what


@ALL
def test_links_lead_somewhere(document):
    for link in LINK.findall(document.read_text()):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@ALL
def test_settings_exist(document):
    for name in SETTING.findall(document.read_text()):
        assert name.lower() in Settings.model_fields or name in OF_COMMANDS, name


@ALL
def test_commands_and_their_options_exist(document):
    known = commands()
    for words, rest in COMMAND.findall(document.read_text()):
        if words.split()[0] not in {name.split()[0] for name in known if name}:
            continue  # prose, not a command
        for option in re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*", rest):
            assert option in known[words], f"pointserve {words} {option}"


@ALL
def test_targets_of_make_exist(document):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for target in code(document, MAKE):
        assert target in targets, target


def test_options_of_a_prediction_exist():
    text = (ROOT / "README.md").read_text() + (ROOT / "docs" / "formats.md").read_text()
    found = {first or second for first, second in QUERY_OPTION.findall(text)}
    assert {"output", "fields", "format", "columns", "filename"} <= found
    assert found <= set(OPTIONS), found - set(OPTIONS)


@ALL
def test_extras_are_installed_as_a_checkout_has_them(document):
    text = document.read_text()
    assert "pointserve[" not in text
    _, _, extras = (ROOT / "pyproject.toml").read_text().partition("[project.optional-dependencies]")
    for extra in re.findall(r"'\.\[([a-z0-9]+)\]'", text):
        assert f"\n{extra} = [" in extras, extra


def test_options_of_serve_are_those_that_the_text_says():
    paragraphs = (ROOT / "docs" / "operations.md").read_text().split("\n\n")
    paragraph = next(each for each in paragraphs if each.startswith("Settings are"))
    last = re.search(r"down\s+to `POINTSERVE_([A-Z_]+)` say", paragraph)[1].lower()
    names = list(Settings.model_fields)
    models = {f"--{name.replace('_', '-')}" for name in names[: names.index(last) + 1]}
    assert set(re.findall(r"`(--[a-z-]+)`", paragraph)) == {f"--{last.replace('_', '-')}", "--host", "--port"}
    assert commands()["serve"] == models | {"--host", "--port", "--help"}
    assert commands()["predict"] > models


def test_everything_served_is_named():
    words = set(re.findall(r"[\w-]+", (ROOT / "docs" / "models.md").read_text()))
    assert {*TRANSFORMS, *NETWORKS, *FAMILIES} <= words


def code(document: Path, pattern: re.Pattern) -> Iterator[str]:
    """Matches of ``pattern`` in the code of ``document``: fenced blocks and spans."""
    text = document.read_text()
    fenced = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for part in [*fenced, *re.findall(r"`([^`\n]+)`", text)]:
        yield from pattern.findall(part + "\n")
