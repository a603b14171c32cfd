import re

import pytest

from app.survey import overview, report
from app.survey.manifest import Manifest
from app.survey.row import Row, State
from tests.survey.survey_samples import result_of, tile_of

CLASSES = [
    {"id": 0, "name": "ground", "color": [150, 100, 50], "asprs": 2},
    {"id": 2, "name": "building", "color": [200, 30, 30], "asprs": 6},
]


def bounds(column: int, row: int):
    return (100.0 * column, 100.0 * row, 0.0, 100.0 * column + 100, 100.0 * row + 100, 9.0)


@pytest.fixture
def text(tmp_path):
    """The report of a survey with a tile in every state but one."""
    tiles = [tile_of(f"{number}.laz", bounds=bounds(number, 0), crs="EPSG:25832") for number in range(4)]
    tiles += [tile_of("c.laz", bounds=bounds(4, 0), crs="EPSG:25832", is_context=True), tile_of("d.laz")]
    tiles.append(tile_of("<feet>.laz", bounds=bounds(0, 0), crs="EPSG:2263"))
    with Manifest.create(tmp_path / "hills") as manifest:
        manifest.set(model={"name": "aerial", "classes": CLASSES}, buffer_m=32.0, warnings=["Two systems."])
        manifest.plan(tiles)
        numbers = {row.tile.name: row.id for row in manifest.rows()}
        for name in ("0.laz", "1.laz"):
            result = result_of(
                tiles[0],
                agreement=[(2, 0, 3), (6, 2, 3), (6, 0, 1)],
                reference="classification",
                warnings=["No colors."],
                timings_ms={"decode": 250.0},
                worker="cuda:0",
            )
            manifest.finish(numbers[name], result, "basis", 2.0)
        manifest.fail(numbers["2.laz"], "It is <damaged>.", 0.1)
        manifest.fail(numbers["<feet>.laz"], "It ended two workers.", 0.1, State.QUARANTINED)
        report.write(manifest, str(tmp_path / report.FILE))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hills", report.FILE]
    return (tmp_path / report.FILE).read_text(encoding="utf-8")


def test_report_states_tiles_points_and_classes(text):
    assert "<h1>hills</h1>" in text
    assert re.search(r"done</td><td>2</td><td>14<", text)
    assert re.search(r"ground</td><td>6</td><td>42\.9%", text)
    assert re.search(r"building</td><td>8</td><td>57\.1%", text)
    assert re.search(r"cuda:0</td><td>2</td><td>14</td><td>4<", text)  # 14 points in 4 s
    assert "32 m of context" in text


def test_report_compares_with_the_classes_of_the_files(text):
    cell = "<td[^>]*>"
    assert re.search(rf"ground</th>{cell}6</td>{cell}0</td>{cell}0\.750", text)
    assert re.search(rf"building</th>{cell}2</td>{cell}6</td>{cell}0\.750", text)
    assert re.search(rf"building</th>{cell}6</td>{cell}8</td>{cell}0\.750</td>{cell}1\.000</td>{cell}0\.750", text)


def test_report_names_what_went_wrong(text):
    assert "It is &lt;damaged&gt;." in text
    assert "&lt;feet&gt;.laz" in text
    assert "<feet>" not in text
    assert re.search(r"No colors\.</td><td>2<", text)
    assert "Two systems." in text


def test_report_draws_each_coordinate_system_on_a_map_of_its_own(text):
    assert text.count("<svg") == 2
    assert text.count('<rect class="done"') == 2
    assert text.count('<rect class="context"') == 1
    assert text.count('<rect class="quarantined"') == 1
    assert "1 tiles state no bounds." in text


def test_report_needs_no_network(text):
    assert not re.search(r"""(src|href)=|url\(|@import|https?://""", text)


def test_report_of_a_survey_without_answers_can_be_written(tmp_path):
    with Manifest.create(tmp_path) as manifest:
        manifest.plan([])
        report.write(manifest, str(tmp_path / report.FILE))
    assert "not labelled yet" in (tmp_path / report.FILE).read_text(encoding="utf-8")


def test_north_is_up():
    found = overview.Overview()
    for number, (column, row) in enumerate([(0, 0), (0, 1), (1, 0)]):
        found.add(Row(number, tile_of(str(number), bounds=bounds(column, row)), State.DONE))
    (drawn,) = found.maps()
    assert [(cell.x, cell.y, cell.width, cell.height) for cell in drawn.cells] == [
        (0.0, 500.0, 500.0, 500.0),
        (0.0, 0.0, 500.0, 500.0),
        (500.0, 500.0, 500.0, 500.0),
    ]


def test_a_failed_tile_is_not_hidden_by_one_that_is_done():
    found = overview.Overview()
    for number, state in enumerate([State.FAILED, State.DONE]):
        found.add(Row(number, tile_of(str(number), bounds=bounds(0, 0)), state))
    (drawn,) = found.maps()
    assert [cell.state for cell in drawn.cells] == [State.DONE, State.FAILED]


def test_many_tiles_share_rectangles_that_show_the_worst_of_them():
    found = overview.Overview()
    failed = 12_345
    for number in range(150 * 150):
        state = State.FAILED if number == failed else State.DONE
        found.add(Row(number, tile_of(str(number), bounds=bounds(number % 150, number // 150)), state))
    (drawn,) = found.maps()
    assert overview.MOST_CELLS / 8 < len(drawn.cells) <= overview.MOST_CELLS
    assert sum(int((re.match(r"(\d+) tiles, ", cell.words) or [0, 1])[1]) for cell in drawn.cells) == 150 * 150
    (worst,) = [cell for cell in drawn.cells if cell.state is State.FAILED]
    assert f"such as {failed}: failed" in worst.words
    x, y = (failed % 150 + 0.5) / 0.15, (150 - failed // 150 - 0.5) / 0.15
    assert worst.x <= x <= worst.x + worst.width
    assert worst.y <= y <= worst.y + worst.height
    assert all(0 <= cell.x < 1000 and 0 <= cell.y < 1000 for cell in drawn.cells)


def test_tiles_of_very_many_coordinate_systems_are_not_all_drawn():
    found = overview.Overview()
    for number in range(12_000):
        crs = f"EPSG:{number % 40}" if number % 2 else "EPSG:25832"
        found.add(Row(number, tile_of(str(number), bounds=bounds(number, 0), crs=crs), State.DONE))
    drawn = found.maps()
    assert len(drawn) == overview.MOST_MAPS
    assert sum(len(each.cells) for each in drawn) <= overview.MOST_CELLS
    assert drawn[0].words.startswith("6,000 tiles")
    assert "9 more coordinate systems, of 2,700 tiles, are not drawn" in drawn[0].words


def test_files_that_state_ids_are_compared_by_ids(tmp_path):
    with Manifest.create(tmp_path) as manifest:
        manifest.set(model={"name": "aerial", "classes": CLASSES})
        manifest.plan([tile_of("a.ply")])
        result = result_of(tile_of("a.ply"), agreement=[(0, 0, 3), (2, 0, 1), (2, 2, 4)], reference="segment")
        manifest.finish(next(manifest.rows()).id, result, "basis", 2.0)
        report.write(manifest, str(tmp_path / report.FILE))
    text = (tmp_path / report.FILE).read_text(encoding="utf-8")
    assert "8 points compared with the column segment" in text
    assert re.search(r"building</th><td>2</td><td>5</td><td>0\.800", text)


def test_codes_of_the_request_and_those_kept_are_compared_as_the_answers_have_them(tmp_path):
    with Manifest.create(tmp_path) as manifest:
        manifest.set(model={"name": "aerial", "classes": CLASSES}, options={"classes": ["building:64"]})
        manifest.plan([tile_of("a.laz")])
        agreement = [(2, 0, 5), (64, 2, 3), (64, 0, 1), (9, 1009, 2), (9, 0, 2), (6, 2, 1)]
        counts = {0: 8, 2: 4, 1009: 2}
        result = result_of(tile_of("a.laz"), agreement=agreement, counts=counts, reference="classification")
        manifest.finish(next(manifest.rows()).id, result, "basis", 2.0)
        report.write(manifest, str(tmp_path / report.FILE))
    text = (tmp_path / report.FILE).read_text(encoding="utf-8")
    cell = "<td[^>]*>"
    assert re.search(rf"building</th>{cell}64</td>{cell}4</td>{cell}0\.750", text)
    assert re.search(rf"water</th>{cell}9</td>{cell}4</td>{cell}0\.500", text)
    assert "13 points compared with the column classification, 1 of classes that no answer has" in text
