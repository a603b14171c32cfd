import io
import json
import os
from pathlib import Path

import laspy
import numpy as np
import pytest

from app.clouds.cloud import Cloud
from app.engine.packed import EXTRA
from app.errors import BadRequest
from app.options import Options
from app.sample.tile import las_bytes
from app.settings import Settings
from app.survey.answers import PARTIAL
from app.survey.plan import Wanted
from app.survey.row import State
from tests.engine.engine_samples import EXPERIMENT, body_of, faulty_service, npz_bytes
from tests.small_disk import small_disk
from tests.survey.survey_runs import TILES, digests, land, rows, run, write_land


@pytest.fixture(scope="module")
def labelled(service, tmp_path_factory):
    """A survey that was labelled without interruption: its folder, and the digests of its answers."""
    folder = tmp_path_factory.mktemp("labelled")
    write_land(folder / "in")
    seen = {}

    def look(runner, progress):
        for path in (folder / "out").glob("t_*"):
            seen.setdefault(path.name, path.read_bytes())

    done = run(service, [folder / "in"], folder / "out", look)
    assert (done.num_done, done.num_failed, done.stopped) == (4, 0, "")
    assert set(seen) == {*TILES}
    for name, data in seen.items():  # whole from the moment on that it had its name
        assert (folder / "out" / name).read_bytes() == data
    return folder, digests(folder / "out")


def states(out: Path):
    return {name: row.state for name, row in rows(out).items()}


def test_every_tile_keeps_all_and_gets_its_classes(labelled):
    folder, _ = labelled
    for name, row in rows(folder / "out").items():
        came, went = laspy.read(io.BytesIO(land()[name])), laspy.read(folder / "out" / name)
        assert np.array_equal(came.xyz, went.xyz)
        assert np.array_equal(came.gps_time, went.gps_time)
        assert row.state is State.DONE
        assert row.labelled_points == len(went) == sum(row.counts.values()) == sum(n for *_, n in row.agreement)
        assert row.context_points > 0
        assert row.output_bytes == (folder / "out" / name).stat().st_size
        assert row.reference == "classification"
        assert {"decode", "encode"} <= {*row.timings_ms}
        assert row.worker == "cpu"
    assert not (folder / "out" / PARTIAL).exists()
    assert (folder / "out/survey.vpc").is_file()
    assert "t_0_0" in (folder / "out/report.html").read_text()


def test_what_is_done_is_not_done_again(service, labelled):
    folder, answers = labelled
    before = {path: path.stat().st_mtime_ns for path in (folder / "out").glob("t_*")}
    assert run(service, [folder / "in"], folder / "out").num_wanted == 0
    assert {path: path.stat().st_mtime_ns for path in (folder / "out").glob("t_*")} == before
    assert digests(folder / "out") == answers


def test_interrupted_and_in_another_order_the_answers_are_the_same(service, labelled, tmp_path):
    _, answers = labelled
    write_land(tmp_path / "in")
    sources = [tmp_path / "in" / name for name in reversed(TILES)]
    first = run(service, sources, tmp_path / "out", lambda runner, progress: progress.num_done and runner.stop())
    assert first.stopped
    assert 0 < first.num_done < 4
    assert sorted({*states(tmp_path / "out").values()}) == [State.DONE, State.PENDING]
    second = run(service, sources, tmp_path / "out")
    assert first.num_done + second.num_done == 4
    assert digests(tmp_path / "out") == answers
    assert all(row.state is State.DONE for row in rows(tmp_path / "out").values())


def test_context_changes_answers_and_a_tile_may_give_context_only(service, labelled, tmp_path):
    _, answers = labelled
    source = write_land(tmp_path / "in")
    done = run(service, [source], tmp_path / "out", buffer_only=["t_1_*"])
    assert done.num_done == 2
    assert states(tmp_path / "out")["t_1_0.laz"] is State.CONTEXT
    found = digests(tmp_path / "out")
    assert found == {name: answers[name] for name in ("t_0_0.laz", "t_0_1.laz")}
    run(service, [source], tmp_path / "alone", buffer_m=0.0)
    assert digests(tmp_path / "alone").keys() == answers.keys()
    assert not any(row.context_points for row in rows(tmp_path / "alone").values())


def test_answers_are_refined_and_the_report_says_how(service, labelled, tmp_path):
    folder, _ = labelled
    options = Options(min_confidence=0.7, preserve=(9, 64))
    run(service, [folder / "in"], tmp_path / "out", options=options)
    in_all = 0
    for name, row in rows(tmp_path / "out").items():
        own, plain, codes = (
            np.asarray(laspy.read(source).classification)
            for source in (io.BytesIO(land()[name]), folder / "out" / name, tmp_path / "out" / name)
        )
        num_doubtful = np.count_nonzero((codes == 1) & (own != 9))
        np.testing.assert_array_equal(codes, np.where(own == 9, 9, np.where(codes == 1, 1, plain)))
        assert [*row.refined] == ["unclassified", "kept"]
        assert row.refined["unclassified"] >= num_doubtful > 0
        assert row.counts.get(1001, 0) == num_doubtful
        in_all += row.refined["unclassified"]
    text = (tmp_path / "out/report.html").read_text()
    assert f"unclassified</td><td>{in_all:,}</td>" in text
    assert "unclassified</td><td>" in text.partition("<h2>Classes</h2>")[2].partition("<h2>")[0]


@pytest.mark.parametrize(
    ("options", "has_color", "has_classes"),
    [
        (Options(), False, False),
        (Options(smooth=8), True, False),
        (Options(fields=("height_above_ground",), ground="file"), False, True),
        (Options(smooth_radius_m=1.0, vegetation_heights=(0.5, 2.0)), True, True),
    ],
)
def test_rings_have_what_steps_read_of_their_points(service, options, has_color, has_classes):
    file = io.BytesIO()
    np.savez(file, coord=np.eye(9, 3), color=np.ones((9, 3), np.uint8), classification=np.full(9, 2))
    with body_of(file.getvalue()) as body, service.stages.request(options) as request:
        cloud, ring = service.stages.decode_with_ring(body, request, (0, 0, 0, 1, 1, 1), 1.0)
        with cloud, ring:
            names = {spec.name for spec in ring.layout}
            assert ("rgb" in names, f"{EXTRA}classification" in names) == (has_color, has_classes)


def test_a_damaged_tile_is_a_row_with_its_reason_and_its_neighbours_go_on(service, labelled, tmp_path):
    _, answers = labelled
    source = write_land(tmp_path / "in")
    whole = land()["t_0_0.laz"]
    (source / "t_0_0.laz").write_bytes(whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2))
    (source / "no_cloud.laz").write_bytes(b"this is no cloud")
    done = run(service, [source], tmp_path / "out")
    assert (done.num_done, done.num_failed) == (3, 2)
    found = rows(tmp_path / "out")
    assert found["t_0_0.laz"].state is found["no_cloud.laz"].state is State.FAILED
    assert found["t_0_0.laz"].error
    assert found["no_cloud.laz"].error
    assert found["t_0_1.laz"].lacking == ["t_0_0.laz"]
    assert any("t_0_0.laz gives no context" in warning for warning in found["t_1_1.laz"].warnings)
    assert run(service, [source], tmp_path / "out").num_wanted == 0

    (source / "t_0_0.laz").write_bytes(whole)
    (source / "no_cloud.laz").unlink()
    assert run(service, [source], tmp_path / "out", retry_failed=True).num_done == 4
    assert digests(tmp_path / "out") == answers


def test_failed_tiles_are_tried_again_only_if_that_is_asked_for(service, tmp_path):
    (tmp_path / "a.laz").write_bytes(b"this is no cloud")
    for asked, attempts in (({}, 1), ({}, 1), ({"retry_failed": True}, 2), ({"force": True}, 3)):
        run(service, [tmp_path / "a.laz"], tmp_path / "out", **asked)
        assert rows(tmp_path / "out")["a.laz"].attempts == attempts


def test_a_tile_that_changes_meanwhile_fails_and_is_done_the_next_time(service, labelled, tmp_path):
    _, answers = labelled
    source = write_land(tmp_path / "in")
    touched = []

    def touch(runner, progress):
        if progress.num_done and not touched:
            touched.extend(name for name in TILES if not (tmp_path / "out" / name).exists())
            for name in touched:
                (source / name).write_bytes(land()[name])
                os.utime(source / name, ns=(1, 1))

    done = run(service, [source], tmp_path / "out", touch)
    found = rows(tmp_path / "out")
    assert done.num_failed > 0
    failed = [row for row in found.values() if row.state is State.FAILED]
    assert all("changed" in row.error for row in failed)
    assert not any(Path(row.output or "-").exists() for row in failed)
    run(service, [source], tmp_path / "out")
    assert {row.state for row in rows(tmp_path / "out").values()} == {State.DONE}
    assert digests(tmp_path / "out") == answers


def test_changed_options_files_or_lost_answers_are_done_again(service, labelled, tmp_path):
    source = write_land(tmp_path / "in")
    out = tmp_path / "out"
    assert run(service, [source], out, buffer_m=0.0).num_done == 4
    assert run(service, [source], out, buffer_m=0.0, options=Options(timeout_s=500)).num_done == 0
    assert run(service, [source], out, buffer_m=0.0, options=Options(fields=("confidence",))).num_done == 4
    fields = Options(fields=("confidence",))
    (out / "t_0_0.laz").unlink()
    assert run(service, [source], out, buffer_m=0.0, options=fields).num_done == 1
    os.utime(source / "t_1_1.laz", ns=(1, 1))
    assert run(service, [source], out, buffer_m=0.0, options=fields).num_done == 1
    assert run(service, [source], out, buffer_m=0.0, options=fields, force=True).num_done == 4


def test_a_changed_neighbour_is_a_reason_to_label_a_tile_again(service, tmp_path):
    source = write_land(tmp_path / "in")
    assert run(service, [source], tmp_path / "out").num_done == 4
    os.utime(source / "t_1_1.laz", ns=(1, 1))
    assert run(service, [source], tmp_path / "out").num_done == 4


def test_equal_names_in_different_folders_stay_apart(service, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / "in" / folder).mkdir(parents=True)
        (tmp_path / "in" / folder / "tile.laz").write_bytes(land()["t_0_0.laz"])
    run(service, [tmp_path / "in"], tmp_path / "out", name="{stem}_classified{suffix}", buffer_m=0.0)
    assert {*digests(tmp_path / "out")} == {"a/tile_classified.laz", "b/tile_classified.laz"}


def test_two_tiles_for_one_answer_are_told_apart(service, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/tile.laz").write_bytes(land()["t_0_0.laz"])
    (tmp_path / "in/tile.las").write_bytes(las_bytes(small(), compress=False))
    done = run(service, [tmp_path / "in"], tmp_path / "out", options=Options(output="laz"), buffer_m=0.0)
    assert (done.num_done, done.num_failed) == (1, 1)
    assert any("another tile" in row.error for row in rows(tmp_path / "out").values())


def small() -> Cloud:
    found = laspy.read(io.BytesIO(land()["t_0_0.laz"]))
    codes = np.array(found.classification)
    extra = {"classification": codes, "return_number": np.array(found.return_number)}
    extra |= {"number_of_returns": np.array(found.number_of_returns), "gps_time": np.array(found.gps_time)}
    extra |= {"scan_angle": np.zeros(len(codes)), "point_source_id": np.zeros(len(codes), np.uint16)}
    return Cloud(found.xyz, "las", intensity=np.array(found.intensity, np.float32), extra=extra)


def test_answers_as_copc(service, labelled, tmp_path):
    source = write_land(tmp_path / "in")
    run(service, [source], tmp_path / "out", options=Options(output="copc"))
    names = [name.replace(".laz", ".copc.laz") for name in TILES]
    assert sorted(path.name for path in (tmp_path / "out").glob("t_*")) == names
    assert [item["id"] for item in json.loads((tmp_path / "out/survey.vpc").read_bytes())["features"]] == TILES
    for name in TILES:
        expected, found = laspy.read(labelled[0] / "out" / name), laspy.read(tmp_path / "out" / f"{name[:-4]}.copc.laz")
        order, new_order = (np.lexsort((*each.xyz.T, each.gps_time)) for each in (expected, found))
        assert np.array_equal(expected.xyz[order], found.xyz[new_order])
        assert np.array_equal(expected.classification[order], found.classification[new_order])
        assert any("order of its octree" in warning for warning in rows(tmp_path / "out")[name].warnings)
    out = tmp_path / "again"
    run(service, [tmp_path / "out/t_0_0.copc.laz"], out, buffer_m=0.0)
    assert [path.name for path in out.glob("t_*")] == ["t_0_0.copc.laz"]
    assert not any("order of its octree" in warning for warning in rows(out)["t_0_0.copc.laz"].warnings)


def test_an_empty_file_is_no_copc(service, tmp_path):
    laspy.LasData(laspy.LasHeader(version="1.4", point_format=6)).write(tmp_path / "empty.las")
    run(service, [tmp_path / "empty.las"], tmp_path / "out", options=Options(output="copc"))
    assert "no points" in rows(tmp_path / "out")["empty.las"].error


def test_a_file_without_points_is_copied(service, tmp_path):
    empty = laspy.LasData(laspy.LasHeader(version="1.4", point_format=6))
    (tmp_path / "in").mkdir()
    empty.write(tmp_path / "in/empty.las")
    run(service, [tmp_path / "in"], tmp_path / "out")
    row = rows(tmp_path / "out")["empty.las"]
    assert (row.state, row.labelled_points) == (State.DONE, 0)
    assert (tmp_path / "out/empty.las").read_bytes() == (tmp_path / "in/empty.las").read_bytes()


def test_tiles_of_another_coordinate_system_are_no_neighbours(service, tmp_path):
    from tests.survey.survey_files import las

    (tmp_path / "in").mkdir()
    for x, crs in ((0, "EPSG:25832"), (1, "EPSG:25832"), (2, "EPSG:25833")):
        (tmp_path / f"in/{x}.laz").write_bytes(las(x, 0, crs=crs, num_points=200, compressed=True))
    run(service, [tmp_path / "in"], tmp_path / "out", buffer_m=50.0)
    context = {name: row.context_points for name, row in rows(tmp_path / "out").items()}
    assert context["0.laz"] > 0
    assert context["1.laz"] > 0
    assert context["2.laz"] == 0


def test_a_full_disk_stops_the_survey_and_it_goes_on_later(service, labelled, tmp_path):
    _, answers = labelled
    source, out = write_land(tmp_path / "in"), tmp_path / "out"
    with small_disk(out, 124) as filler:
        done = run(service, [source], out)
        assert done.stopped
        assert done.num_done < 4
        filler.unlink()
        assert not run(service, [source], out).stopped
        assert digests(out) == answers


def test_a_tile_that_ends_engines_is_quarantined_and_the_others_go_on(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    for name, data in {"a": npz_bytes(500), "bad": npz_bytes(700, "kill"), "c": npz_bytes(600)}.items():
        (source / f"{name}.npz").write_bytes(data)
    settings = Settings(models=str(EXPERIMENT), device="cpu", threads=1)
    with faulty_service(tmp_path) as service:
        service.wait_ready(120)
        done = run(service, [source], tmp_path / "out", settings=settings, options=Options(output="npy"))
    assert (done.num_done, done.num_failed) == (2, 1)
    assert states(tmp_path / "out") == {"a.npz": "done", "bad.npz": "quarantined", "c.npz": "done"}
    assert "lost 2 times" in rows(tmp_path / "out")["bad.npz"].error


@pytest.mark.parametrize("name", ["", "fixed.laz", "{stem}/{suffix}", "{other}", "{stem", "../{stem}", "{stem.real}"])
def test_patterns_that_name_no_file_are_refused(name, tmp_path):
    with pytest.raises(BadRequest, match="pattern"):
        Wanted(str(tmp_path), Options(), name)
