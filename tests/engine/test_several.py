"""Several devices, several models."""

import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.engine.service import Service
from app.errors import BadModel, NotFound, NotReady
from app.options import Options
from app.settings import Settings
from tests.engine.engine_samples import EXPERIMENT, ask, body_of, engine_pid, npz_bytes, wait_until


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    shutil.copytree(EXPERIMENT, root / "first")
    return root


@pytest.fixture(scope="module")
def service(root):
    """Two engines on the CPU."""
    service = Service(Settings(models=str(root), device="cpu,cpu", threads=1, readers=2, batch_requests=1))
    service.start()
    wait_until(lambda: all(engine.state == "ready" for engine in service.status().engines), 120)
    yield service
    service.stop(5.0)


def served(service: Service) -> list[str]:
    return [card.name for card in service.models() if card.served]


def model_of(service: Service, name: str) -> str:
    with body_of(npz_bytes(300)) as body, service.predict(body, Options(name, output="npy")) as answer:
        return answer.model


def test_every_device_has_a_process_of_its_own(service):
    engines = service.status().engines
    assert [engine.device for engine in engines] == ["cpu#0", "cpu#1"]
    assert engines[0].pid != engines[1].pid
    assert all(engine.memory.total > engine.memory.used > engine.memory.models > 0 for engine in engines)


def test_engine_that_is_free_takes_what_another_is_too_busy_for(service):
    expected = [ask(service, npz_bytes(size)) for size in range(400, 406)]
    os.kill(engine_pid(service, 0), signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(6) as clients:
            requests = [clients.submit(ask, service, npz_bytes(size)) for size in range(400, 406)]
            wait_until(lambda: sum(request.done() for request in requests) >= 5 or not service.status().num_requests)
            os.kill(engine_pid(service, 0), signal.SIGCONT)
            assert [request.result() for request in requests] == expected
    finally:
        os.kill(engine_pid(service, 0), signal.SIGCONT)


def test_models_come_and_go_on_every_engine(service, root):
    assert served(service) == ["first"]
    with pytest.raises(NotFound, match="second"):
        service.load("second")
    shutil.copytree(EXPERIMENT, root / "second")
    assert service.load("second").served
    assert served(service) == ["first", "second"]
    with ThreadPoolExecutor(8) as clients:
        names = ["first", "second"] * 8
        assert list(clients.map(lambda name: model_of(service, name), names)) == names
    assert not service.unload("first").served
    with pytest.raises(NotFound, match="unloaded"):
        model_of(service, "first")
    assert model_of(service, "") == "second"
    (root / "first/config.py").rename(root / "first/config.txt")
    with pytest.raises(NotFound):
        service.load("first")
    (root / "first/config.py").write_text("import os\n")
    with pytest.raises(BadModel, match="first"):
        service.load("first")
    (root / "first/config.txt").rename(root / "first/config.py")
    assert service.load("first").served
    assert model_of(service, "first") == "first"


def test_what_was_unloaded_stays_so_in_an_engine_that_is_replaced(service, root):
    shutil.copytree(EXPERIMENT, root / "second", dirs_exist_ok=True)
    service.load("second")
    service.unload("first")
    pid = engine_pid(service, 0)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: service.status().engines[0].pid not in (pid, None))
    assert service.status().state == "ready"  # by the other engine
    assert model_of(service, "") == "second"
    wait_until(lambda: service.status().engines[0].state == "ready")
    assert served(service) == ["second"]
    os.kill(engine_pid(service, 0), signal.SIGKILL)
    wait_until(lambda: service.status().engines[0].state == "starting")
    service.load("first")  # by the other engine, while this one starts without it
    wait_until(lambda: service.status().engines[0].state == "ready")
    wait_until(lambda: served(service) == ["first", "second"])


def test_stopping_service_changes_no_models(service):
    service.drain(0.0)
    with pytest.raises(NotReady, match="stopping"):
        service.load("first")
    assert service.status().state == "stopping"
