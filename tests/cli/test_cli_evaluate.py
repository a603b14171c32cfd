"""``pointserve evaluate`` on files: what is matched, what is refused and told, what the reports hold."""

import json
import re
import shutil
import weakref

import laspy
import numpy as np
import pytest
from pyproj import CRS

from app.clouds import formats
from app.clouds.cloud import ClassInfo, Segmentation, SegmentationMeta
from app.evaluate import reading
from app.sample.tile import las_bytes, make_tile
from tests.cli.cli_samples import documented


@pytest.fixture
def folders(tmp_path):
    """Two labelled tiles, and labels with known mistakes: every fifth point of a building is ground."""
    for name, seed in (("a", 1), ("deep/b", 2)):
        tile = make_tile("town", seed, 40.0, 4.0)
        truth, pred = tmp_path / "truth" / f"{name}.laz", tmp_path / "pred" / f"{name}.las"
        for path in (truth, pred):
            path.parent.mkdir(parents=True, exist_ok=True)
        truth.write_bytes(las_bytes(tile))
        buildings = np.flatnonzero(tile.extra["classification"] == 6)
        tile.extra["classification"][buildings[::5]] = 2
        pred.write_bytes(las_bytes(tile, compress=False))
    return tmp_path / "pred", tmp_path / "truth"


def figures(pointserve, *arguments, path, code=0):
    done = pointserve("evaluate", *arguments, "-o", path)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(path.read_text()), done


def labelled(path, xyz, **columns):
    """A PLY of points with columns of whole numbers."""
    head = ["ply", "format ascii 1.0", f"element vertex {len(xyz)}", *(f"property double {axis}" for axis in "xyz")]
    head += [*(f"property int {name}" for name in columns), "end_header"]
    rows = [
        " ".join(map(str, (*point, *values))) for point, *values in zip(xyz.tolist(), *columns.values(), strict=True)
    ]
    path.write_text("\n".join([*head, *rows, ""]))


def test_folders_are_matched_by_name_and_judged_by_class(pointserve, folders, tmp_path):
    found, done = figures(pointserve, *folders, path=tmp_path / "out.json")
    assert "2 of 2 pairs were compared." in done.stdout
    assert [tile["name"] for tile in found["tiles"]] == ["a.laz", "deep/b.laz"]
    codes = np.concatenate([laspy.read(path).classification for path in sorted(folders[1].rglob("*.laz"))])
    names = [each["name"] for each in found["classes"]]
    points = found["points"]
    assert points["judged"] == np.count_nonzero(~np.isin(codes, (0, 1, 7, 18)))
    assert points["truth"][names.index("building")] == np.count_nonzero(codes == 6)
    wrong = points["counts"][names.index("building")][names.index("ground")]
    assert wrong == sum(-(-tile["truth"][names.index("building")] // 5) for tile in found["tiles"])
    assert points["iou"][names.index("building")] == pytest.approx(1 - wrong / np.count_nonzero(codes == 6))
    assert sum(sum(row) for row in points["counts"]) == points["judged"]
    assert found["calibration"] is None
    assert len(found["intervals"]["iou"]["low"]) == len(names)


def test_reports_are_whole_and_need_no_network(pointserve, folders, tmp_path):
    reports = [tmp_path / f"out/r.{ending}" for ending in ("html", "md", "json")]
    done = pointserve("evaluate", *folders, *(word for path in reports for word in ("-o", path)))
    assert done.returncode == 0, done.stderr
    html, markdown, _ = (path.read_text(encoding="utf-8") for path in reports)
    assert not re.search(r"""(src|href)=|url\(|@import|https?://|<script""", html)
    assert html.count("<svg") == 4
    assert "deep/b.laz" in html
    assert re.search(r"\| building \| 6 \| [\d,]+ \| 0\.\d{3} \| 0\.\d{3}–0\.\d{3} \|", markdown)


def test_one_pair_is_in_memory_at_a_time(pointserve, folders, monkeypatch):
    plain, tiles = reading.read, []

    def read(*given):
        assert all(tile() is None for tile in tiles)
        tile = plain(*given)
        tiles.append(weakref.ref(tile))
        return tile

    monkeypatch.setattr(reading, "read", read)
    assert pointserve("evaluate", *folders).returncode == 0
    assert len(tiles) == 2


def test_a_stated_height_above_ground_is_taken(pointserve, tmp_path):
    xyz = np.random.default_rng(0).uniform(0, 9, (50, 3))
    codes = np.repeat([2, 5], 25)
    labelled(tmp_path / "truth.ply", xyz, classification=codes)
    labelled(tmp_path / "pred.ply", xyz, classification=codes, HeightAboveGround=np.repeat([0, 7], 25))
    found, _ = figures(pointserve, tmp_path / "pred.ply", tmp_path / "truth.ply", path=tmp_path / "r.json")
    assert found["height"] == {"above ground, as stated": 1}
    assert [(each["name"], each["judged"]) for each in found["by_height"]] == [("-0.5 to 0.5 m", 25), ("5 to 10 m", 25)]


def test_names_of_files_are_shown_as_text(pointserve, folders, tmp_path):
    for folder, ending in zip(folders, ("las", "laz"), strict=True):
        (folder / f"a.{ending}").rename(folder / f"<b>|.{ending}")
    assert pointserve("evaluate", *folders, "-o", tmp_path / "r.html", "-o", tmp_path / "r.md").returncode == 0
    html = (tmp_path / "r.html").read_text()
    assert "&lt;b&gt;|.laz" in html
    assert "<b>" not in html
    assert "\\<b>\\|.laz" in (tmp_path / "r.md").read_text()


def test_points_in_another_order_are_matched_by_coordinate(pointserve, folders, tmp_path):
    pred, truth = folders
    before, _ = figures(pointserve, pred / "a.las", truth / "a.laz", path=tmp_path / "before.json")
    las = laspy.read(pred / "a.las")
    las.points = las.points[np.random.default_rng(0).permutation(len(las))]
    las.write(pred / "a.las")
    after, _ = figures(pointserve, pred / "a.las", truth / "a.laz", path=tmp_path / "after.json")
    assert after["notes"] == {"Points were matched by coordinate, because their order differs.": ["a.laz"]}
    assert after["points"] == before["points"]


def test_pairs_that_cannot_be_compared_are_told_and_the_rest_goes_on(pointserve, folders, tmp_path):
    pred, truth = folders
    las = laspy.read(truth / "a.laz")
    for name in ("thinned", "moved", "feet", "damaged", "lone"):
        shutil.copy(truth / "a.laz", truth / f"{name}.laz")
    las.points = las.points[np.arange(0, len(las), 2)]
    las.write(pred / "thinned.laz")
    las = laspy.read(truth / "a.laz")
    las.x = np.asarray(las.x) + 2
    las.write(pred / "moved.laz")
    las = laspy.read(truth / "a.laz")
    text = las.header.vlrs[0].string.replace("32N", "33N").replace("25832", "25833")
    las.header.vlrs[0] = laspy.vlrs.known.WktCoordinateSystemVlr(text)
    las.write(pred / "feet.laz")
    (pred / "damaged.laz").write_bytes((truth / "a.laz").read_bytes()[:3000])
    shutil.copy(truth / "a.laz", pred / "other.laz")
    found, done = figures(pointserve, pred, truth, path=tmp_path / "out.json", code=1)
    assert "2 of 6 pairs were compared." in done.stdout
    reasons = {re.sub(r".*/", "", name): reason for name, reason in found["failures"].items()}
    assert "points and TRUTH" in reasons["thinned.laz"]
    assert "lie where PRED has none" in reasons["moved.laz"]
    assert "33N" in reasons["feet.laz"]
    assert "damaged" in reasons["damaged.laz"]
    assert "PRED has no file lone" in reasons["lone.laz"]
    assert "TRUTH has no file of that name" in reasons["other.laz"]
    assert len(reasons) == 6
    for reason in reasons.values():
        assert (done.stdout + done.stderr).count(reason) == 1


def test_nothing_to_compare_is_told(pointserve, folders, tmp_path):
    pred, truth = folders
    alone = pointserve("evaluate", pred / "a.las", truth / "deep/b.laz", "-o", tmp_path / "r.md")
    assert alone.returncode == 1
    assert "these are not the same points" in alone.stdout
    assert not (tmp_path / "r.md").exists()
    assert pointserve("evaluate", pred, truth / "a.laz").returncode == 1
    assert pointserve("evaluate", pred, tmp_path / "nowhere").returncode == 1
    unlabelled = pointserve("evaluate", pred, truth, "--ignore", "0-255")
    assert unlabelled.returncode == 1
    assert "No point is judged" in unlabelled.stderr
    for wrong in (["-o", "r.pdf"], ["--cell-m", "0"], ["--name", "{x}"], ["--map", "ground"], ["--ignore", "b:x"]):
        assert pointserve("evaluate", pred, truth, *wrong).returncode == 2


def test_classes_of_other_codes_need_a_map(pointserve, tmp_path):
    xyz = np.random.default_rng(0).uniform(0, 9, (200, 3))
    truth, ids = np.repeat([2, 3, 5, 6], 50), np.repeat([0, 1, 1, 2], 50)
    ids[:10] = 2
    labelled(tmp_path / "truth.ply", xyz, classification=truth)
    labelled(tmp_path / "pred.ply", xyz, label=ids, classification=truth)
    refused = pointserve("evaluate", tmp_path / "pred.ply", tmp_path / "truth.ply")
    assert refused.returncode == 1
    assert "--map" in refused.stdout
    rules = ["0=2:ground", "1=3,4,5:vegetation", "2=6:building"]
    given = [word for rule in rules for word in ("--map", rule)]
    found, _ = figures(pointserve, tmp_path / "pred.ply", tmp_path / "truth.ply", *given, path=tmp_path / "r.json")
    assert found["points"]["counts"] == [[40, 0, 10, 0], [0, 100, 0, 0], [0, 0, 50, 0]]
    np.save(tmp_path / "labels.npy", ids.astype(np.int32))
    (tmp_path / "classes.txt").write_text("\n".join(rules))
    by_file = "--map", tmp_path / "classes.txt"
    alone, _ = figures(pointserve, tmp_path / "labels.npy", tmp_path / "truth.ply", *by_file, path=tmp_path / "n.json")
    assert alone["points"] == found["points"]
    chosen = "--column", "classification"
    same, _ = figures(pointserve, tmp_path / "pred.ply", tmp_path / "truth.ply", *chosen, path=tmp_path / "c.json")
    assert same["points"]["accuracy"] == 1
    missing = pointserve("evaluate", tmp_path / "pred.ply", tmp_path / "truth.ply", "--truth-column", "truth")
    assert "TRUTH has no column truth" in missing.stdout
    unfit = pointserve("evaluate", tmp_path / "pred.ply", tmp_path / "truth.ply", "--column", "x")
    assert "PRED has no classes in its column x" in unfit.stdout


def test_confidence_is_read_from_what_pointserve_writes(pointserve, tmp_path):
    tile = make_tile("town", 1, 30.0, 4.0)
    (tmp_path / "truth.laz").write_bytes(las_bytes(tile))
    codes = tile.extra["classification"]
    classes = [ClassInfo(code, str(code), (0, 0, 0), code) for code in np.unique(codes).tolist()]
    confidence = np.where(np.arange(len(tile)) % 2, 0.96, 0.84).astype(np.float32)
    answer = Segmentation(codes.astype(np.int32), SegmentationMeta(classes), {"confidence": confidence})
    source = memoryview((tmp_path / "truth.laz").read_bytes())
    (tmp_path / "pred.laz").write_bytes(formats.write("laz", formats.read(source), answer, source))
    found, _ = figures(pointserve, tmp_path / "pred.laz", tmp_path / "truth.laz", path=tmp_path / "r.json")
    points = found["calibration"]["points"]
    assert [place for place, count in enumerate(points) if count] == [8, 9]
    assert found["calibration"]["expected_error"] == pytest.approx((0.16 * points[8] + 0.04 * points[9]) / sum(points))


def test_feet_are_judged_in_metres(pointserve, tmp_path):
    header = laspy.LasHeader(version="1.4", point_format=6)
    header.scales = np.full(3, 0.001)
    header.add_crs(CRS("EPSG:2263"))
    las = laspy.LasData(header)
    las.x, las.y, las.z = np.linspace(0, 328, 1000), np.zeros(1000), np.zeros(1000)
    las.classification = np.full(1000, 2, np.uint8)
    for name in ("pred", "truth"):
        las.write(tmp_path / f"{name}.laz")
    found, _ = figures(pointserve, tmp_path / "pred.laz", tmp_path / "truth.laz", path=tmp_path / "r.json")
    assert found["area_m2"]["judged"] == pytest.approx(100)
    table = np.column_stack([las.x, las.y, las.z, np.zeros(1000)])  # an answer as CSV states no units
    np.savetxt(tmp_path / "pred.csv", table, "%.9g", ",", header="x,y,z,label", comments="")
    ids = "--map", "0=2:ground"
    found, _ = figures(pointserve, tmp_path / "pred.csv", tmp_path / "truth.laz", *ids, path=tmp_path / "c.json")
    assert found["area_m2"]["judged"] == pytest.approx(100)
    assert found["points"]["accuracy"] == 1


def test_confidence_of_another_scale_is_not_used(pointserve, tmp_path):
    xyz, codes = np.random.default_rng(0).uniform(0, 9, (50, 3)), np.repeat([2, 5], 25)
    labelled(tmp_path / "truth.ply", xyz, classification=codes)
    labelled(tmp_path / "pred.ply", xyz, classification=codes, confidence=np.arange(50))
    found, done = figures(pointserve, tmp_path / "pred.ply", tmp_path / "truth.ply", path=tmp_path / "r.json")
    assert found["calibration"] is None
    assert "Its confidence is not from 0 to 1, and was not used. (truth.ply)" in done.stdout


def test_a_pattern_that_names_no_file_is_told(pointserve, folders):
    done = pointserve("evaluate", *folders, "--ignore", "a*:9", "--ignore", "A*:9")
    assert done.returncode == 0
    assert [line for line in done.stderr.splitlines() if line] == [
        "Warning: --ignore A*: no file of TRUTH has such a name."
    ]


def test_tables_of_many_classes_are_whole(pointserve, tmp_path):
    xyz, codes = np.random.default_rng(0).uniform(0, 9, (5000, 3)), 2 + np.arange(5000) % 4
    codes[:10] = np.arange(64, 74)
    for name in ("truth", "pred"):
        labelled(tmp_path / f"{name}.ply", xyz, classification=codes)
    done = pointserve("evaluate", tmp_path / "pred.ply", tmp_path / "truth.ply")
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("user-defined 7")]
    assert rows[0] == ["user-defined", "70", "70", "1", *["1.000"] * 4]
    assert rows[-1] == ["user-defined", "73", *["0"] * 13, "1", "1.000"]


def test_commands_of_the_document_work(tmp_path, pointserve):
    given = documented("docs/evaluate.md")
    assert sum("evaluate" in words for words in given) > 3
    for words in given:
        done = pointserve(*(re.sub(r"^(truth|labelled|report)\b", rf"{tmp_path}/\1", word) for word in words))
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    assert {"report.html", "report.md", "report.json"} <= {path.name for path in tmp_path.iterdir()}
