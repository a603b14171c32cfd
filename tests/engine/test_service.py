import io
import json
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.clouds.cloud import Cloud
from app.engine.answer import Answer
from app.engine.budget import MemoryBudget
from app.engine.deadline import Deadline
from app.engine.packed import pack_cloud, unpack_cloud
from app.engine.request_memory import POINT_BYTES, RequestMemory
from app.engine.service import Service
from app.errors import BadCloud, BadModel, BadRequest, Busy, DeadlineExceeded, NotFound, NotReady, Problem, TooLarge
from app.options import Options
from app.refine.steps import STEPS
from app.settings import Settings
from tests.engine import joining_samples
from tests.engine.engine_samples import (
    EXPERIMENT,
    body_of,
    content,
    engine_pid,
    is_running,
    npy_bytes,
    num_open_files,
    wait_until,
)

ROOT = Path(__file__).parents[2]
PLY = """ply
format ascii 1.0
comment keep me
element vertex 3
property float x
property float y
property float z
end_header
0 0 0
0.5 0 0
nan 0 0
"""


@pytest.fixture(scope="module")
def service():
    """One engine on the CPU with a real model, shared by the tests of this module and ready before each."""
    settings = Settings(models=str(EXPERIMENT), device="cpu", threads=1, readers=2, queue_requests=3, max_points=20_000)
    service = Service(settings)
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("OMP_WAIT_POLICY", raising=False)
        service.start()
        service.wait_ready(120)  # its engine has the environment of this moment
    yield service
    service.stop(5.0)


@pytest.fixture(autouse=True)
def ready(service):
    service.wait_ready(120)


def predict(service: Service, data: bytes, output: str = "npy", **options) -> Answer:
    with service.admission.admit(), body_of(data) as body:
        return service.predict(body, Options(output=output, **options), "request-1")


def labels(service: Service, data: bytes) -> np.ndarray:
    with predict(service, data) as answer:
        return np.load(io.BytesIO(content(answer)))


def test_known_cloud_gets_its_known_labels(service):
    expected = np.load(EXPERIMENT / "expected.npz")
    file = io.BytesIO()
    np.savez(file, coord=expected["coord"], color=expected["color"], normal=expected["normal"])
    got = labels(service, file.getvalue())
    assert np.mean(got == expected["label_fast"]) >= 0.999


@pytest.mark.parametrize(("output", "is_kept"), [("ply", True), ("json", False)])
def test_a_file_is_given_up_before_its_answer_unless_that_keeps_what_is_in_it(service, output, is_kept):
    with body_of(PLY.encode()) as body, service.predict(body, Options(output=output)):
        assert (body.fd >= 0) == is_kept


def test_memory_of_a_cloud_on_the_device_is_that_of_its_pass_and_of_its_points(service, monkeypatch):
    jobs = []
    queue = service._scheduler.submit

    def submit(*arguments, **how):
        jobs.append(queue(*arguments, **how))
        return jobs[-1]

    monkeypatch.setattr(service._scheduler, "submit", submit)
    num_points = 900
    for options in ({}, {"mode": "exact"}):
        predict(service, npy_bytes(num_points), **options).close()
    (card,) = [card for card in service.models() if card.served]
    voxels = [num_points, min(service._settings.max_passes * num_points, card.tile_voxels)]
    assert [job.need_bytes for job in jobs] == [
        card.bytes_per_voxel * each + POINT_BYTES * num_points for each in voxels
    ]


def reserved_bytes(card, options, num_points):
    """What a request reserves for segmenting so many points."""
    cloud = pack_cloud(Cloud(np.zeros((num_points, 3)), "npy"))
    with closing(cloud), MemoryBudget().reservation() as reservation:
        RequestMemory(reservation, card, options, Deadline.after(60)).segmenting(cloud)
        return reservation.num_bytes


def test_memory_of_a_cloud_counts_the_step_of_refinement_that_takes_most(service):
    (card,) = [card for card in service.models() if card.served]
    plain, smoothed, both = (
        reserved_bytes(card, options, 1000) for options in (Options(), Options(smooth=8), Options(smooth=8, sieve=10))
    )
    steps = {step.name: step for step in STEPS}
    of_classes = (steps["smooth"].class_bytes - Options().mode.class_bytes) * card.num_classes
    assert smoothed - plain == 1000 * (steps["smooth"].point_bytes + of_classes)
    assert both - smoothed == 1000 * (steps["sieve"].point_bytes - steps["smooth"].point_bytes) > 0


def test_memory_of_a_cloud_counts_what_classes_take_in_a_mode(service):
    (card,) = [replace(card, num_classes=200) for card in service.models() if card.served]
    fast, exact, vote = (reserved_bytes(card, Options(mode=mode), 1000) for mode in ("fast", "exact", "vote"))
    assert vote - fast == 1000 * 200 * 5
    assert exact == fast
    joined = replace(card, path=f"{card.path}:{card.path}")
    assert reserved_bytes(joined, Options(mode="vote"), 1000) - vote == 1000 * 200 * 5


@pytest.mark.parametrize(("max_passes", "passes"), [(None, 10), (4, 4)])
def test_exact_mode_makes_as_many_passes_as_it_may(service, max_passes, passes):
    expected = np.load(EXPERIMENT / "expected.npz")
    file = io.BytesIO()
    np.savez(file, coord=expected["coord"], color=expected["color"], normal=expected["normal"])
    with predict(service, file.getvalue(), "json", mode="exact", max_passes=max_passes) as answer:
        body = json.loads(content(answer))
    assert (answer.passes, answer.passes_wanted) == (body["passes"], body["passes_wanted"]) == (passes, 10)
    agreement = np.mean(np.array(body["labels"]) == expected["label_exact"])
    assert agreement >= (0.999 if passes == 10 else 0.5)


def test_answer_says_how_it_came_about(service):
    with predict(service, npy_bytes(300), "json", fields=("confidence",)) as answer:
        body = json.loads(content(answer))
        assert answer.size == len(content(answer))
    assert (answer.media_type, answer.num_points, answer.model) == ("application/json", 300, EXPERIMENT.name)
    assert len(body["labels"]) == len(body["confidence"]) == 300
    assert body["request_id"] == "request-1"
    assert body["warnings"] == answer.warnings
    assert any("color" in warning for warning in answer.warnings)
    stages = list(answer.timings_ms)
    assert stages[:2] == ["decode", "queue"]
    assert stages[-1] == "encode"
    assert list(body["timings_ms"]) == stages[:-1]
    assert min(answer.timings_ms.values()) >= 0


def test_remarks_of_the_writer_reach_the_answer(service):
    with predict(service, npy_bytes(300), "laz") as answer:
        assert any("class ids" in warning for warning in answer.warnings)


def test_file_that_came_in_is_kept_where_the_output_is_of_its_family(service):
    with predict(service, PLY.encode(), "ply") as answer:
        assert b"keep me" in content(answer)
        assert answer.num_points == 3
    with predict(service, PLY.encode(), "csv") as answer:
        assert b"keep me" not in content(answer)


def test_same_request_gets_the_same_answer(service):
    np.testing.assert_array_equal(labels(service, npy_bytes()), labels(service, npy_bytes()))


def test_more_passes_than_the_server_makes_are_refused(service):
    with pytest.raises(BadRequest, match="1 to 128"):
        predict(service, b"not looked at", mode="exact", max_passes=1000)


def test_unknown_model_is_refused_with_those_served(service):
    with pytest.raises(NotFound, match=EXPERIMENT.name):
        predict(service, b"not looked at", model="other")


def test_problems_of_files_and_clouds_cross_over(service):
    with pytest.raises(BadCloud):
        predict(service, npy_bytes()[:-4])
    with pytest.raises(TooLarge):
        predict(service, npy_bytes(20_001))


def test_no_descriptor_is_left_behind(service):
    labels(service, npy_bytes())
    before = num_open_files()
    requests = [
        (npy_bytes(50), {}),
        (npy_bytes()[:-4], {}),
        (npy_bytes(20_001), {}),
        (npy_bytes(50), {"max_passes": 1000}),
        (npy_bytes(50), {"condition": "that the model does not know"}),
    ]
    for i in range(50):
        data, options = requests[i % 5]
        with suppress(Problem):
            predict(service, data, "json", **options).close()
    assert num_open_files() == before
    assert service.status().num_requests == 0
    assert service.status().num_points == 0


def test_requests_at_once_all_get_their_own_answer(service):
    with ThreadPoolExecutor(3) as threads:
        sizes = list(range(100, 112))
        assert [len(got) for got in threads.map(lambda n: labels(service, npy_bytes(n)), sizes)] == sizes


def test_signals_of_the_terminal_are_left_to_the_parent(service):
    pid = engine_pid(service)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pid, number)
    assert len(labels(service, npy_bytes())) == 500
    assert engine_pid(service) == pid


def test_threads_of_the_engine_sleep_while_they_wait(service):
    environment = Path(f"/proc/{engine_pid(service)}/environ").read_bytes().split(b"\0")
    assert b"OMP_WAIT_POLICY=PASSIVE" in environment


def test_time_of_a_request_is_bounded_and_the_queue_too(service, monkeypatch):
    before = num_open_files()
    os.kill(engine_pid(service), signal.SIGSTOP)
    monkeypatch.setattr(service.stages, "_settings", service._settings.model_copy(update={"request_timeout_s": 2.0}))
    with ThreadPoolExecutor(3) as threads:
        requests = [threads.submit(labels, service, npy_bytes()) for _ in range(3)]
        wait_until(lambda: service.status().num_requests == 3)
        with pytest.raises(Busy) as caught:
            labels(service, npy_bytes())
        assert caught.value.retry_after_s >= 1
        assert all(isinstance(request.exception(), DeadlineExceeded) for request in requests)
    monkeypatch.undo()
    os.kill(engine_pid(service), signal.SIGCONT)
    assert len(labels(service, npy_bytes())) == 500
    assert num_open_files() == before


def test_models_that_cannot_be_served_say_why(settings, tmp_path):
    (tmp_path / "broken/model").mkdir(parents=True)
    (tmp_path / "broken/config.py").write_text("import os\n")
    service = Service(settings.model_copy(update={"models": str(tmp_path)}))
    service.start()
    with pytest.raises(NotReady, match="broken: "):
        service.wait_ready(120)
    (card,) = service.models()
    assert (card.name, card.served) == ("broken", False)
    assert service.status().state == "empty"
    for name in ("", "broken"):
        with pytest.raises(BadModel, match="found an import"):
            predict(service, npy_bytes(), model=name)
    service.stop()


def test_second_folder_of_a_name_does_not_take_the_first_one_away(settings, tmp_path):
    for parent in ("a", "b"):
        shutil.copytree(EXPERIMENT, tmp_path / parent / "same")
    service = Service(settings.model_copy(update={"models": f"{tmp_path / 'a'}:{tmp_path / 'b'}"}))
    service.start()
    try:
        service.wait_ready(120)
        assert [card.served for card in service.models()] == [True, False]
        with predict(service, npy_bytes(50), model="same") as answer:
            assert answer.model == "same"
    finally:
        service.stop(0.0)


def test_missing_folder_of_models_is_named_and_stopping_ends_everything(settings):
    service = Service(settings.model_copy(update={"models": "/nowhere/at/all"}))
    assert service.status().state == "stopped"
    service.start()
    pids = [*service._readers.pids]
    with pytest.raises(NotReady, match="/nowhere/at/all"):
        service.wait_ready(120)
    service.stop()
    assert service.status().state == "stopped"
    with pytest.raises(NotReady, match="stopping"):
        predict(service, npy_bytes())
    wait_until(lambda: not any(is_running(pid) for pid in pids))


def test_stopping_while_the_models_load_ends_the_engine(settings):
    before = num_open_files()
    service = Service(settings)
    service.start()
    wait_until(lambda: service.status().engines[0].pid is not None)
    pid = engine_pid(service)
    with pytest.raises(NotReady, match="being loaded"):
        predict(service, npy_bytes())
    service.stop()
    assert not is_running(pid)
    assert num_open_files() == before


def test_stuck_engine_dies_with_its_parent(settings):
    script = f"""
import time
from app.engine.service import Service
from app.options import Options
from app.refine.steps import STEPS
from app.settings import Settings
service = Service(Settings(models={str(EXPERIMENT)!r}, device="cpu", threads=1, readers=1))
service.start()
while not (pid := service.status().engines[0].pid):
    time.sleep(0.01)
print(pid, flush=True)
service.wait_ready(120)
print("ready", flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert parent.stdout.readline() == "ready\n"
        os.kill(pid, signal.SIGSTOP)
        parent.kill()
    wait_until(lambda: not is_running(pid))


@pytest.mark.parametrize(
    ("module", "unwanted"), [("app.http.gunicorn", {"torch", "scipy"}), ("app.engine.process", {"flask", "laspy"})]
)
def test_process_stays_free_of_what_it_must_not_import(module, unwanted):
    code = f"import sys, {module}; sys.exit(bool({unwanted!r} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_of_more_rings_than_a_message_takes_all_are_joined(service, monkeypatch):
    monkeypatch.setattr("app.engine.stages.MAX_RINGS", 2)
    places = (40, -40, 33, -33, 20)
    rings = [joining_samples.ring(joining_samples.tile(west_m, seed), west_m) for seed, west_m in enumerate(places)]
    cloud = joining_samples.tile()
    before = num_open_files()
    with service.stages.request(Options()) as request, pack_cloud(cloud) as packed:
        request = replace(request, card=replace(request.card, columns=[*joining_samples.COLUMNS]))
        with service.stages.join(packed, rings, request, joining_samples.box(0), 5.0, joining_samples.FRAME) as whole:
            joining_samples.assert_same(unpack_cloud(whole), joining_samples.join(cloud, rings)[1])
    assert num_open_files() == before
