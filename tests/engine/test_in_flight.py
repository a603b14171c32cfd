"""Several batches of clouds in flight in one engine, and what is lost with one of them: nothing."""

import os
import signal
import threading
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.engine.service import Service
from app.errors import ClientGone, Problem, Quarantined
from app.options import Options
from app.settings import EngineSettings
from tests.engine.engine_samples import ask, body_of, engine_pid, faulty_service, npz_bytes, wait_until

SIZES = range(400, 406)
IN_FLIGHT = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def service(folder):
    """One engine with the faults of faults/sitecustomize.py, where each cloud has a pass of its own."""
    with faulty_service(folder, in_flight=IN_FLIGHT, batch_requests=1) as service:
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


@pytest.fixture
def waiting(service, folder, clients):
    """A cloud that stays in the engine until the file go is there."""
    future = clients.submit(ask, service, npz_bytes(500, "wait_for_go"))
    wait_until((folder / "waits").exists)
    yield future
    (folder / "go").touch()
    assert len(future.result()) > 500


def all_of(service: Service, clients: ThreadPoolExecutor) -> dict[int, bytes]:
    return dict(zip(SIZES, clients.map(lambda size: ask(service, npz_bytes(size)), SIZES), strict=True))


def num_in_engine(service: Service) -> int:
    status = service.status()
    return status.num_requests - status.num_waiting


def restarts(service: Service) -> int:
    return service.status().engines[0].num_restarts


def test_a_processor_has_one_batch_in_flight_and_a_gpu_more():
    assert EngineSettings().batches_in_flight("cpu") == 1
    assert EngineSettings().batches_in_flight("cuda") > 1
    assert EngineSettings(in_flight=3).batches_in_flight("cpu") == 3


def test_clouds_are_answered_while_another_is_in_the_engine(service, expected, clients, waiting):
    assert all_of(service, clients) == expected
    assert not waiting.done()


def test_no_more_are_in_the_engine_than_may_be(service, expected, clients, waiting, folder):
    others = [clients.submit(ask, service, npz_bytes(501 + number, "wait_for_go")) for number in range(IN_FLIGHT)]
    wait_until(lambda: service.status().num_requests == 1 + IN_FLIGHT and service.status().num_waiting == 1)
    behind = clients.submit(ask, service, npz_bytes(400))
    wait_until(lambda: service.status().num_waiting == 2)
    (folder / "go").touch()
    assert [len(other.result()) > 500 for other in others] == [True] * IN_FLIGHT
    assert behind.result() == expected[400]


def test_killed_engine_costs_none_of_those_in_flight_its_answer_and_blames_none(service, expected, clients, folder):
    before, pid = restarts(service), engine_pid(service)
    waiting = clients.submit(ask, service, npz_bytes(500, "wait_for_go"))
    wait_until((folder / "waits").exists)
    os.kill(pid, signal.SIGSTOP)
    requests = {size: clients.submit(ask, service, npz_bytes(size)) for size in SIZES}
    wait_until(lambda: service.status().num_waiting == len(SIZES) - (IN_FLIGHT - 1))
    (folder / "go").touch()
    os.kill(pid, signal.SIGKILL)
    assert {size: request.result() for size, request in requests.items()} == expected
    assert len(waiting.result()) > 500
    assert restarts(service) == before + 1
    assert service.status().num_quarantined == 0


def test_input_that_kills_engines_is_quarantined_and_its_neighbours_are_answered(service, expected, clients):
    before, held_before = restarts(service), service.status().num_quarantined
    os.kill(engine_pid(service), signal.SIGSTOP)
    requests = {size: clients.submit(ask, service, npz_bytes(size)) for size in SIZES[:2]}
    guilty = clients.submit(ask, service, npz_bytes(600, "kill"))
    requests |= {size: clients.submit(ask, service, npz_bytes(size)) for size in SIZES[2:]}
    wait_until(lambda: service.status().num_points == 600 + sum(SIZES))
    os.kill(engine_pid(service), signal.SIGCONT)
    assert isinstance(guilty.exception(), Quarantined)
    assert {size: request.result() for size, request in requests.items()} == expected
    assert 2 <= restarts(service) - before <= 3
    assert service.status().num_quarantined == held_before + 1


def test_what_fails_in_one_batch_is_no_matter_to_the_others(service, expected, clients, waiting):
    pid = engine_pid(service)
    failed = clients.submit(ask, service, npz_bytes(510, "misbehave"))
    assert all_of(service, clients) == expected
    assert isinstance(failed.exception(), Problem)
    assert failed.exception().status == 500
    assert engine_pid(service) == pid


def test_cloud_that_lacks_memory_waits_for_the_others_and_then_goes_alone(service, expected, clients, waiting, folder):
    pid = engine_pid(service)
    large = clients.submit(ask, service, npz_bytes(8000, "want_memory", extent_m=6.0))
    wait_until(lambda: service.status().num_points == 8500)
    requests = {size: clients.submit(ask, service, npz_bytes(size)) for size in SIZES}
    (folder / "go").touch()
    assert len(large.result()) > 8000
    assert {size: request.result() for size, request in requests.items()} == expected
    assert engine_pid(service) == pid


def test_error_of_the_device_costs_none_of_those_in_flight_its_answer(service, expected, clients, waiting, folder):
    before = restarts(service)
    requests = {size: clients.submit(ask, service, npz_bytes(size)) for size in SIZES}
    broken = clients.submit(ask, service, npz_bytes(300, "break_device_once"))
    wait_until((folder / "broken").exists)
    (folder / "go").touch()
    assert {size: request.result() for size, request in requests.items()} == expected
    assert len(broken.result()) > 300
    assert restarts(service) == before + 1


def test_thread_that_ends_ends_the_process_and_leaves_no_cloud_waiting(service, expected, clients, waiting, folder):
    before = service.status().engines[0].restarts.get("exit", 0)
    ended = clients.submit(ask, service, npz_bytes(520, "end_thread_once"))
    (folder / "go").touch()
    assert len(ended.result()) > 520
    assert service.status().engines[0].restarts["exit"] == before + 1
    assert all_of(service, clients) == expected


def test_of_two_in_flight_only_the_one_whose_client_is_gone_is_dropped(service, clients, waiting, folder):
    gone = threading.Event()
    other = clients.submit(ask, service, npz_bytes(501, "wait_for_go"), is_gone=gone.is_set)
    wait_until(lambda: num_in_engine(service) == 2)
    gone.set()
    assert isinstance(other.exception(), ClientGone)
    (folder / "go").touch()
    wait_until(lambda: service.status().num_points == 0)
    assert len(waiting.result()) > 500


def test_models_are_changed_when_nothing_is_in_flight(service, expected, clients, waiting, folder):
    change = clients.submit(service.load, service.models()[0].name)
    behind = clients.submit(ask, service, npz_bytes(400))
    assert not futures.wait([change], timeout=1).done
    (folder / "go").touch()
    assert change.result().served
    assert behind.result() == expected[400]


def test_a_request_is_answered_while_tiles_of_a_job_wait_in_the_engine(service, folder, expected, clients):
    """However many tiles there are, they leave a lane to requests."""

    def label(size):
        data = npz_bytes(size, "wait_for_go")
        with (
            body_of(data) as body,
            service.stages.request(Options(), is_background=True) as request,
            service.stages.decode(body, request) as cloud,
            service.stages.result(service.stages.submit(cloud, request), request).segmentation as labelled,
        ):
            return labelled.num_points

    tiles = [clients.submit(label, 500 + number) for number in range(IN_FLIGHT + 2)]
    wait_until((folder / "waits").exists)
    wait_until(lambda: service.status().num_waiting == 3)
    assert ask(service, npz_bytes(SIZES[0])) == expected[SIZES[0]]
    assert service.status().num_waiting == 3
    assert not any(tile.done() for tile in tiles)
    (folder / "go").touch()
    assert [tile.result() for tile in tiles] == [500 + number for number in range(IN_FLIGHT + 2)]
