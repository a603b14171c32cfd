import contextlib
import os
import re
import shutil
import signal
import subprocess

import laspy
import numpy as np
import pytest

from app.cli.output import write_file
from app.clouds import formats
from app.pipeline.segmenter import Segmenter
from app.zoo.loading import load_model
from tests.cli.cli_samples import EXPERIMENT, ROOT, command, environment

MODELS = ("--models", EXPERIMENT)


def expected_labels(path):
    loaded = load_model(EXPERIMENT)
    cloud = formats.read(memoryview(path.read_bytes()), filename=path.name)
    return Segmenter(loaded.network, loaded.experiment.procedure).segment(cloud).labels


@pytest.fixture(scope="module")
def airborne_models(tmp_path_factory):
    """The experiment with ASPRS codes for its classes: bathtub is ground, door high vegetation, the rest buildings."""
    folder = tmp_path_factory.mktemp("models") / "airborne"
    shutil.copytree(EXPERIMENT, folder)
    codes = [6] * 20
    codes[18], codes[7] = 2, 5
    config = (folder / "config.py").read_text()
    changed = config.replace("num_classes=20,\n    ignore_index=-1,", f"num_classes=20,\n    asprs={codes},", 1)
    assert changed != config
    (folder / "config.py").write_text(changed)
    return folder


def test_laz_keeps_everything_and_holds_the_labels(pointserve, tile, tmp_path):
    out = tmp_path / "out.laz"
    done = pointserve("predict", tile, "-o", out, *MODELS, "--fields", "confidence")
    assert done.returncode == 0, done.stderr
    source, written = laspy.read(tile), laspy.read(out)
    for name in ("X", "Y", "Z", "intensity", "gps_time", "return_number"):
        np.testing.assert_array_equal(source[name], written[name])
    np.testing.assert_array_equal(written.classification, expected_labels(tile))
    assert (np.asarray(written["confidence"]) > 0).all()
    counted = {int(count.replace(",", "")) for count in re.findall(r"([\d,]+) │ +[\d.]+ %", done.stdout)}
    assert set(np.bincount(written.classification).tolist()) <= counted
    assert "no color" in done.stderr


def test_a_name_that_ends_in_copc_laz_gets_copc(pointserve, tile, tmp_path):
    out = tmp_path / "out.copc.laz"
    done = pointserve("predict", tile, "-o", out, *MODELS)
    assert done.returncode == 0, done.stderr
    assert "order of its octree" in done.stderr.replace("\n", " ")
    with laspy.CopcReader.open(str(out)) as reader:
        assert len(reader.query()) == len(laspy.read(tile))
    done = pointserve("predict", tile, out, "-o", tmp_path / "several", *MODELS)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "several").iterdir()} == {tile.name, out.name}
    np.testing.assert_array_equal(laspy.read(out).xyz, laspy.read(tmp_path / "several" / out.name).xyz)


def test_exact_mode_makes_the_passes_it_is_given(pointserve, tile, tmp_path):
    options = ("--mode", "exact", "--max-passes", "2")
    done = pointserve("predict", tile, "-o", tmp_path / "out.laz", *MODELS, *options)
    assert done.returncode == 0, done.stderr
    assert re.search(r" s, 2 passes$", done.stdout, re.MULTILINE)
    assert re.search(r"made 2 of \d+ passes", done.stderr.replace("\n", " "))
    done = pointserve("predict", tile, "-o", tmp_path / "out.laz", *MODELS, "--mode", "slow")
    assert done.returncode != 0
    assert "'fast', 'exact' or 'vote'" in done.stderr


def test_what_is_printed_fits_into_80_columns(pointserve, tile, tmp_path):
    done = pointserve("predict", tile, "-o", tmp_path / "out.laz", *MODELS, COLUMNS="80")
    total, stages = done.stdout.splitlines()[-2:]
    assert re.fullmatch(rf"[\d,]+ points by {EXPERIMENT.name} in \d+\.\d\d s", total)
    assert re.fullmatch(r"  features \d.*, project \d+\.\d\d s", stages)
    assert len(stages) <= 80


def test_output_format_by_option_and_default_model(pointserve, tile, tmp_path):
    out = tmp_path / "labels.bin"
    done = pointserve(
        "predict",
        tile,
        "-o",
        out,
        "--output",
        "npy",
        "--model",
        EXPERIMENT.name,
        "--models",
        ROOT / "tests/golden/experiments",
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(out), expected_labels(tile))


def test_several_clouds_go_to_a_folder(pointserve, tile, tmp_path):
    xyz = laspy.read(tile).xyz[:500]
    np.savetxt(tmp_path / "a.csv", xyz, delimiter=",", header="x,y,z", comments="")
    np.save(tmp_path / "b.npy", xyz)
    out = tmp_path / "out"
    done = pointserve("predict", tmp_path / "a.csv", tmp_path / "b.npy", "-o", out, *MODELS)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in out.iterdir()) == ["a.csv", "b.npy"]
    assert len(np.load(out / "b.npy")) == 500
    assert len((out / "a.csv").read_text().splitlines()) == 501


def test_a_folder_with_a_bad_file_is_gone_through_to_its_end(pointserve, tile, tmp_path):
    folder, deeper = tmp_path / "survey", tmp_path / "survey/north"
    deeper.mkdir(parents=True)
    for path in (folder / "a.laz", deeper / "a.laz"):
        shutil.copy(tile, path)
    (folder / "b.laz").write_bytes(tile.read_bytes()[:3000])
    (folder / "notes.pdf").write_bytes(b"%PDF-1.7")
    out = folder / "out"
    for _ in range(2):  # what the first run wrote is no source of the second
        done = pointserve("predict", folder, "-o", out, *MODELS)
        assert done.returncode == 1
        assert "2 of 3 clouds were classified." in done.stdout
        assert re.search(rf"^failed: {folder}/b.laz: \S", done.stdout, re.MULTILINE)
        assert (done.stdout + done.stderr).count(f"{folder}/b.laz") == 1
        assert sorted(str(path.relative_to(out)) for path in out.rglob("*.laz")) == ["a.laz", "north/a.laz"]
    np.testing.assert_array_equal(laspy.read(out / "north/a.laz").classification, expected_labels(tile))


def test_clouds_of_formats_that_are_not_written_go_to_laz(pointserve, tile, tmp_path):
    folder, out = tmp_path / "mixed", tmp_path / "out"
    folder.mkdir()
    xyz = laspy.read(tile).xyz[:300]
    np.savetxt(folder / "a.pts", xyz)
    np.savetxt(folder / "a.xyz", xyz)
    np.savetxt(folder / "b.csv", xyz, delimiter=",", header="x,y,z", comments="")
    (folder / "notes.txt").write_text("Flown in May, by nobody in particular.\n")
    done = pointserve("predict", folder, "-o", out, *MODELS)
    assert done.returncode == 1
    assert ".pts, .txt, .xyz: not written, so these clouds (3) go to .laz files" in done.stderr
    assert "2 of 4 clouds were classified." in done.stdout
    assert f"failed: {folder}/a.xyz: {out}/a.laz is for {folder}/a.pts already" in done.stdout
    assert re.search(rf"^failed: {folder}/notes.txt: The text holds no row", done.stdout, re.MULTILINE)
    assert sorted(path.name for path in out.iterdir()) == ["a.laz", "b.csv"]
    np.testing.assert_array_equal(laspy.read(out / "a.laz").classification, expected_labels(folder / "a.pts"))


def test_a_file_to_write_without_a_format_is_told_of_the_option(pointserve, tile, tmp_path):
    done = pointserve("predict", tile, "-o", tmp_path / "out.pts", *MODELS)
    assert done.returncode == 2
    assert "--output laz" in done.stderr


def test_what_ends_in_a_slash_is_a_folder(pointserve, tile, tmp_path):
    done = pointserve("predict", tile, "-o", f"{tmp_path}/out/ccd/", *MODELS)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "out/ccd").iterdir()] == [tile.name]


def test_a_pointcept_scene_is_one_cloud(pointserve, tile, tmp_path):
    xyz = laspy.read(tile).xyz[:400].astype(np.float32)
    rgb = np.random.default_rng(0).integers(0, 256, (400, 3), np.uint8)
    for name in ("scene0", "scene1.v2"):
        scene = tmp_path / "val" / name
        scene.mkdir(parents=True)
        arrays = {"coord": xyz, "color": rgb, "segment": np.zeros(400, np.int16)}
        for key, array in arrays.items():
            np.save(scene / f"{key}.npy", array)
    np.savez(tmp_path / "whole.npz", **arrays)
    done = pointserve("predict", tmp_path / "val", "-o", tmp_path / "out", *MODELS)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 clouds" in done.stdout
    expected = expected_labels(tmp_path / "whole.npz")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["scene0.npz", "scene1.v2.npz"]
    np.testing.assert_array_equal(np.load(tmp_path / "out/scene1.v2.npz")["labels"], expected)
    done = pointserve("predict", tmp_path / "val/scene0", "-o", tmp_path / "one.npy", *MODELS)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "one.npy"), expected)


def test_an_empty_file_is_not_sent(pointserve, tmp_path):
    (tmp_path / "empty.laz").touch()
    url = "http://127.0.0.1:1"  # nobody is there, which would be said if it was asked
    done = pointserve("predict", tmp_path / "empty.laz", "-o", tmp_path / "out.laz", "--url", url)
    assert done.returncode == 1
    assert f"{tmp_path}/empty.laz: The file is empty (0 bytes)." in done.stderr


def test_a_file_that_is_not_there_ends_no_other(pointserve, tile, tmp_path):
    missing = tmp_path / "missing.las"
    done = pointserve("predict", missing, tile, "-o", tmp_path / "out", *MODELS)
    assert done.returncode == 1
    assert "1 of 2 clouds were classified." in done.stdout
    assert f"failed: {missing}: the file cannot be read: No such file or directory." in done.stdout
    assert (tmp_path / "out" / tile.name).exists()


def test_a_folder_without_clouds_is_wrong_usage(pointserve, tmp_path):
    (tmp_path / "notes.pdf").write_bytes(b"%PDF-1.7")
    done = pointserve("predict", tmp_path, "-o", tmp_path / "out", *MODELS)
    assert done.returncode == 2
    assert "there is no cloud in the folder" in " ".join(re.findall(r"[\w./-]+", done.stderr))


def test_fields_that_are_not_known_end_it_before_anything_is_read(pointserve, tile, tmp_path):
    done = pointserve("predict", tile, tile.parent, "-o", tmp_path / "out", *MODELS, "--fields", "certainty")
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "fields: 'certainty' is not accepted: expected 'confidence'" in done.stderr


def test_exact_mode_shows_its_passes_on_a_terminal(tile, tmp_path):
    ours, theirs = os.openpty()
    options = ("--mode", "exact", "--max-passes", "3", "-o", tmp_path / "out.laz")
    process = subprocess.Popen(
        command("predict", tile, *options, *MODELS),
        env=environment(TERM="xterm", COLUMNS="120"),
        cwd=ROOT,
        stderr=theirs,
        stdout=subprocess.DEVNULL,
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while chunk := os.read(ours, 65536):
            shown += chunk
    assert process.wait(60) == 0
    assert re.search(rb"passes.*3/3", shown.replace(b"\r", b"\n"))


def test_columns_of_a_raw_sweep(pointserve, tmp_path):
    points = np.random.default_rng(0).uniform(0, 3, (300, 5)).astype(np.float32)
    points.tofile(tmp_path / "sweep.bin")
    out = tmp_path / "out.npy"
    arguments = ("predict", tmp_path / "sweep.bin", "-o", out, *MODELS)
    assert pointserve(*arguments, "--columns", "x,y,z,intensity,ring").returncode == 0
    assert np.load(out).shape == (300,)


def test_units_by_option(pointserve, tile, tmp_path):
    las = laspy.read(tile)
    metres, feet = tmp_path / "metres.npy", tmp_path / "feet.npy"
    np.save(metres, las.xyz)
    np.save(feet, las.xyz / 0.3048)
    labels = []
    for file, option in ((metres, ()), (feet, ("--units", "ft")), (feet, ("--crs", "EPSG:2994"))):
        done = pointserve("predict", file, "-o", tmp_path / "out.npy", *MODELS, *option)
        assert done.returncode == 0, done.stderr
        assert ("converted to metres" in " ".join(done.stderr.split())) == bool(option)
        labels.append(np.load(tmp_path / "out.npy"))
    assert (labels[1] == labels[0]).mean() > 0.98
    np.testing.assert_array_equal(labels[1], labels[2])
    done = pointserve("predict", feet, "-o", tmp_path / "out.npy", *MODELS, "--units", "furlong")
    assert done.returncode == 1
    assert "no unit" in " ".join(done.stderr.split())


def test_score(pointserve, airborne_models, tile, tmp_path):
    out = tmp_path / "out.laz"
    done = pointserve("predict", tile, "-o", out, "--models", airborne_models, "--score")
    assert done.returncode == 0, done.stderr
    truth, found = np.asarray(laspy.read(tile).classification), np.asarray(laspy.read(out).classification)
    counted = ~np.isin(truth, (1, 7, 9, 18))
    ground = (truth[counted] == 2), (found[counted] == 2)
    iou = (ground[0] & ground[1]).sum() / (ground[0] | ground[1]).sum()
    row = rf"bathtub +2 +{ground[0].sum():,} +{iou:.3f} "
    assert re.search(row, done.stdout), done.stdout
    twice = pointserve("predict", tile, out, "--models", airborne_models, "--score")
    assert twice.returncode == 0, twice.stderr
    assert re.search(row, twice.stdout)
    assert "2 files, all points pooled" in twice.stdout
    las = laspy.read(tile)
    las.classification[:10] = 64
    las.write(tmp_path / "other.laz")
    kept = pointserve("predict", tile, tmp_path / "other.laz", "--models", airborne_models, "--score", "--preserve", 64)
    assert kept.returncode == 0, kept.stderr  # though one file has a class that the other one lacks
    assert len(re.findall(r"user-defined 64 +64 +10 +1\.000", kept.stdout)) == 2
    assert pointserve("predict", tile, "--models", airborne_models).returncode == 2


def test_score_needs_codes_and_a_classification(pointserve, airborne_models, tile, tmp_path):
    done = pointserve("predict", tile, "-o", tmp_path / "out.laz", *MODELS, "--score")
    assert done.returncode == 1
    assert "ASPRS" in done.stderr
    assert not list(tmp_path.iterdir())
    stated = ",".join(f"{number}:{2 + number}" for number in range(20))
    assert pointserve("predict", tile, *MODELS, "--score", "--classes", stated).returncode == 0
    np.save(tmp_path / "bare.npy", np.random.default_rng(0).uniform(0, 3, (50, 3)))
    done = pointserve(
        "predict", tmp_path / "bare.npy", "-o", tmp_path / "out.npz", "--models", airborne_models, "--score"
    )
    assert done.returncode == 0
    assert "no classification" in done.stderr


def test_inputs_are_never_written_over(pointserve, tile, tmp_path):
    mine, twin = tmp_path / "tile.laz", tmp_path / "twin/tile.laz"
    twin.parent.mkdir()
    for copy in (mine, twin):
        shutil.copy(tile, copy)
    before = mine.read_bytes()
    assert pointserve("predict", mine, "-o", mine, *MODELS).returncode == 2
    assert pointserve("predict", mine, "-o", tmp_path, *MODELS).returncode == 2
    assert pointserve("predict", mine, twin, "-o", tmp_path / "tile.laz", *MODELS).returncode == 2
    assert mine.read_bytes() == before


def test_what_cannot_be_read_is_named(pointserve, tile, tmp_path):
    broken = tmp_path / "broken.laz"
    broken.write_bytes(tile.read_bytes()[:3000])
    done = pointserve("predict", broken, "-o", tmp_path / "out.laz", *MODELS)
    assert done.returncode == 1
    assert str(broken) in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert pointserve("predict", tile, "-o", tmp_path / "out.laz", *MODELS, "--model", "nobody").returncode == 1
    assert pointserve("predict", tmp_path / "nothing", "-o", tmp_path / "out.laz", *MODELS).returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["broken.laz"]


def test_ctrl_c_ends_it_quietly(tmp_path):
    pipe = tmp_path / "cloud.npy"
    os.mkfifo(pipe)
    process = subprocess.Popen(
        ["env", "--default-signal=INT", *command("predict", pipe, "-o", tmp_path / "out.npy", *MODELS)],
        env=environment(),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    with pipe.open("wb"):  # opens once the command reads
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert [path.name for path in tmp_path.iterdir()] == ["cloud.npy"]


def test_pipe_is_written_to_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    descriptor = os.open(pipe, os.O_RDWR)
    try:
        write_file(pipe, b"answer")
        assert pipe.is_fifo()
        assert os.read(descriptor, 100) == b"answer"
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(("policy", "spins"), [({}, False), ({"OMP_WAIT_POLICY": "ACTIVE"}, True)])
def test_threads_sleep_while_they_wait_unless_told_otherwise(pointserve_process, tile, tmp_path, policy, spins):
    done = pointserve_process("predict", tile, "-o", tmp_path / "out.npy", *MODELS, OMP_DISPLAY_ENV="VERBOSE", **policy)
    (count,) = set(re.findall(r"GOMP_SPINCOUNT = '(\d+)'", done.stderr))
    assert (int(count) > 0) == spins
