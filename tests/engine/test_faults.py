"""What is lost when an engine is lost: nothing but the input that did it."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.engine.quarantine import STRIKES
from app.engine.service import Service
from app.errors import ClientGone, DeadlineExceeded, NotReady, Problem, Quarantined
from app.options import Mode
from tests.engine.engine_samples import (
    ask,
    engine_pid,
    faulty_service,
    is_running,
    npz_bytes,
    num_open_files,
    wait_until,
)

SIZES = range(400, 408)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def service(folder):
    """One engine, quick to be given up, that has the faults of faults/sitecustomize.py."""
    with faulty_service(folder, readers=2, engine_silence_s=3) as service:
        yield service


@pytest.fixture(autouse=True)
def ready(service, folder):
    for file in folder.iterdir():
        file.unlink()
    service.wait_ready(120)


@pytest.fixture(scope="module")
def expected(service):
    service.wait_ready(120)
    return {size: ask(service, npz_bytes(size)) for size in SIZES}


@pytest.fixture
def clients():
    with ThreadPoolExecutor(16, thread_name_prefix="client") as clients:
        yield clients


def restarts(service: Service, kind: str) -> int:
    return service.status().engines[0].restarts.get(kind, 0)


def in_the_engine(service: Service, num_points: int) -> None:
    """Wait until so many points were handed in and the engine has all that it will take at once."""
    wait_until(lambda: service.status().num_points == num_points and service.status().num_waiting < len(SIZES))


def test_killed_engine_costs_none_of_eight_clients_its_answer(service, expected, clients):
    list(clients.map(lambda size: ask(service, npz_bytes(size)), [*SIZES, *SIZES]))
    before, held_before = restarts(service, "killed"), held(service)
    pid = engine_pid(service)
    os.kill(pid, signal.SIGSTOP)
    requests = {size: clients.submit(ask, service, npz_bytes(size)) for size in SIZES}
    in_the_engine(service, sum(SIZES))
    os.kill(pid, signal.SIGKILL)
    assert {size: request.result() for size, request in requests.items()} == expected
    assert restarts(service, "killed") == before + 1
    assert engine_pid(service) != pid
    service.wait_ready(60)
    wait_for_no_more_than(held_before, service)


def test_engine_that_gives_no_sign_of_life_is_replaced_and_its_jobs_run_again(service, expected, clients):
    pid = engine_pid(service)
    os.kill(pid, signal.SIGSTOP)
    requests = {size: clients.submit(ask, service, npz_bytes(size)) for size in SIZES}
    assert {size: request.result() for size, request in requests.items()} == expected
    assert restarts(service, "hung") == 1
    assert not is_running(pid)


def test_engine_that_computes_without_end_is_ended_by_the_deadline_of_its_job(service, expected, clients):
    before = restarts(service, "hung")
    endless = clients.submit(ask, service, npz_bytes(500, "hang"), timeout_s=1.0)
    wait_until(lambda: service.status().num_points == 500 and not service.status().num_waiting)
    behind = clients.submit(ask, service, npz_bytes(400))
    assert isinstance(endless.exception(), DeadlineExceeded)
    assert behind.result() == expected[400]
    assert restarts(service, "hung") == before + 1


def test_input_that_kills_engines_is_quarantined_and_its_neighbours_are_answered(service, expected, clients):
    before = restarts(service, "killed")
    os.kill(engine_pid(service), signal.SIGSTOP)
    first = clients.submit(ask, service, npz_bytes(400))  # it occupies the engine while the others gather
    in_the_engine(service, 400)
    guilty = clients.submit(ask, service, npz_bytes(600, "kill"))
    innocent = {size: clients.submit(ask, service, npz_bytes(size)) for size in SIZES}
    wait_until(lambda: service.status().num_points == 400 + 600 + sum(SIZES))
    os.kill(engine_pid(service), signal.SIGCONT)
    assert isinstance(guilty.exception(), Quarantined)
    assert first.result() == expected[400]
    assert {size: request.result() for size, request in innocent.items()} == expected
    assert 2 <= restarts(service, "killed") - before <= 3
    known = restarts(service, "killed")
    with pytest.raises(Quarantined, match="hash"):
        ask(service, npz_bytes(600, "kill"))
    assert restarts(service, "killed") == known
    assert service.status().num_quarantined == 1


def test_cloud_is_not_blamed_for_a_process_that_had_not_begun_with_it(service, clients):
    before = restarts(service, "killed")
    pid = engine_pid(service)
    os.kill(pid, signal.SIGSTOP)
    guilty = clients.submit(ask, service, npz_bytes(601, "kill"))
    wait_until(lambda: service.status().num_points == 601 and not service.status().num_waiting)
    os.kill(pid, signal.SIGKILL)
    assert isinstance(guilty.exception(), Quarantined)
    assert restarts(service, "killed") == before + 1 + STRIKES


def test_device_error_that_poisons_the_process_is_overcome_by_another(service, clients):
    assert len(ask(service, npz_bytes(300, "break_device_once"))) > 300
    assert restarts(service, "device") == 1


@pytest.mark.parametrize("mode", Mode)
def test_cloud_that_needs_too_much_memory_goes_in_smaller_tiles(service, mode):
    data = npz_bytes(8000, "want_memory", extent_m=6.0)
    before = engine_pid(service)
    assert len(ask(service, data, mode=mode)) > 8000
    with pytest.raises(NotReady, match="POINTSERVE_TILE_VOXELS"):
        ask(service, npz_bytes(4000, "want_all_memory"))
    assert engine_pid(service) == before


def test_exception_in_the_engine_is_a_500_without_inner_details(service):
    before = engine_pid(service)
    with pytest.raises(Problem) as caught:
        ask(service, npz_bytes(500, "misbehave"))
    assert caught.value.status == 500
    assert "log" in caught.value.detail
    assert "no check caught" not in caught.value.detail
    assert len(ask(service, npz_bytes(500))) > 500
    assert engine_pid(service) == before


def test_client_that_hangs_up_is_not_computed_for(service, folder, clients):
    gone = threading.Event()
    running = clients.submit(ask, service, npz_bytes(500, "wait_for_go"))
    wait_until((folder / "waits").exists)
    (folder / "waits").unlink()
    waiting = clients.submit(ask, service, npz_bytes(501, "wait_for_go"), is_gone=gone.is_set)
    wait_until(lambda: service.status().num_points == 1001)
    gone.set()
    assert isinstance(waiting.exception(), ClientGone)
    assert service.status().num_points == 500
    (folder / "go").touch()
    running.result()
    assert not (folder / "waits").exists()


def test_job_that_runs_is_dropped_between_its_stages_once_nobody_waits(service, folder, clients):
    gone = threading.Event()
    running = clients.submit(ask, service, npz_bytes(500, "wait_for_go"), is_gone=gone.is_set)
    wait_until((folder / "waits").exists)
    gone.set()
    assert isinstance(running.exception(), ClientGone)
    (folder / "go").touch()
    wait_until(lambda: service.status().num_points == 0)
    assert len(ask(service, npz_bytes(400))) > 400


def held(service: Service) -> tuple[int, int, int]:
    """Descriptors here, threads but those of the clients, descriptors of the engine."""
    threads = [thread for thread in threading.enumerate() if not thread.name.startswith("client")]
    return num_open_files(), len(threads), len(os.listdir(f"/proc/{engine_pid(service)}/fd"))


def wait_for_no_more_than(before: tuple[int, int, int], service: Service) -> None:
    """Of what is held; what an answer took is closed after it is there, and may have been counted in ``before``."""
    wait_until(lambda: all(now <= then for now, then in zip(held(service), before, strict=True)))


def test_nothing_is_left_behind_by_many_requests(service, expected, clients):
    list(clients.map(lambda size: ask(service, npz_bytes(size)), [*SIZES, *SIZES]))
    before = held(service)
    answers = clients.map(lambda size: ask(service, npz_bytes(size)), [*SIZES] * 10)
    assert list(answers) == [expected[size] for size in SIZES] * 10
    wait_for_no_more_than(before, service)
    assert service.status().num_requests == service.status().num_points == 0


def test_clouds_that_kill_engines_neither_open_the_breaker_nor_are_forgiven_with_it(
    folder, settings, monkeypatch, expected, clients
):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "faults"), prepend=os.pathsep)
    monkeypatch.setenv("FAULT_FOLDER", str(folder))
    service = Service(settings.model_copy(update={"engine_failures": 1, "engine_pause_s": 600.0}))
    service.start()
    try:
        service.wait_ready(120)
        guilty = [clients.submit(ask, service, npz_bytes(size, "kill")) for size in (600, 601, 602)]
        innocent = {size: clients.submit(ask, service, npz_bytes(size)) for size in SIZES}
        assert {size: request.result() for size, request in innocent.items()} == expected
        for request in guilty:
            assert isinstance(request.exception(), Quarantined)
            assert "memory runs out" in request.exception().detail
        service.wait_ready(60)
        lost = restarts(service, "killed")
        assert len(guilty) * STRIKES <= lost <= len(guilty) * (STRIKES + 1)
        os.kill(engine_pid(service), signal.SIGKILL)  # no cloud did this one
        wait_until(lambda: service.status().state == "paused")
        with pytest.raises(NotReady) as refused:
            ask(service, npz_bytes(400))
        assert refused.value.retry_after_s > 500
        assert service.status().num_quarantined == len(guilty)
    finally:
        service.stop(0.0)


def test_engine_that_cannot_stay_up_rests_and_is_tried_again(folder, settings, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "faults"), prepend=os.pathsep)
    monkeypatch.setenv("FAULT_FOLDER", str(folder))
    (folder / "dies-at-start").touch()
    service = Service(settings.model_copy(update={"engine_failures": 2, "engine_pause_s": 2.0}))
    service.start()
    try:
        wait_until(lambda: service.status().state == "paused")
        assert "2 times in a row" in service.status().reason
        with pytest.raises(NotReady, match="exit code 3") as refused:
            ask(service, npz_bytes(400))
        assert 1 <= refused.value.retry_after_s <= 2
        (folder / "dies-at-start").unlink()
        wait_until(lambda: service.status().state == "ready", 60)
        assert len(ask(service, npz_bytes(400))) > 400
    finally:
        service.stop(0.0)
