"""An engine that was lost while the files of its models could not be used: it comes back when they can."""

import os
import shutil
import signal

import pytest
import torch

from app.engine.service import Service
from app.errors import BadModel, NotFound, NotReady
from app.options import Options
from tests.engine.engine_samples import EXPERIMENT, ask, body_of, engine_pid, npz_bytes, wait_until

WEIGHTS = "model/model_best.pth"


@pytest.fixture
def root(tmp_path):
    for name in ("first", "second"):
        shutil.copytree(EXPERIMENT, tmp_path / name)
    return tmp_path


@pytest.fixture
def service(settings, root):
    service = Service(settings.model_copy(update={"models": str(root), "engine_failures": 2, "engine_pause_s": 600.0}))
    service.start()
    service.wait_ready(120)
    yield service
    service.stop(0.0)


def lose_engine(service: Service) -> None:
    pid = engine_pid(service)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: service.status().engines[0].restarts.get("killed", 0) > 0)


def served(service: Service) -> list[str]:
    return [card.name for card in service.models() if card.served]


def ask_model(service: Service, name: str) -> str:
    with body_of(npz_bytes(300)) as body, service.predict(body, Options(name, output="npy")) as answer:
        return answer.model


def damage(path):
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return lambda: path.write_bytes(whole)


def take_away(path):
    path.rename(path.with_name("elsewhere"))
    return lambda: path.with_name("elsewhere").rename(path)


@pytest.mark.parametrize("harm", [damage, take_away])
def test_model_whose_weights_were_unusable_for_a_moment_is_served_again(service, root, harm):
    restore = harm(root / "second" / WEIGHTS)
    lose_engine(service)
    wait_until(lambda: served(service) == ["first"] and service.status().state == "ready")
    assert ask_model(service, "first") == "first"
    with pytest.raises(NotReady, match="second") as caught:
        ask_model(service, "second")
    assert caught.value.retry_after_s > 0
    with pytest.raises(BadModel, match="second"):
        service.load("second")
    restore()
    wait_until(lambda: served(service) == ["first", "second"], 60)
    assert ask_model(service, "second") == "second"


def rob(folder):
    """Take away what the network needs: the file is whole, its weights are others."""
    torch.save({"state_dict": {"module.other.weight": torch.ones(3)}}, folder / WEIGHTS)


class Evil:
    def __reduce__(self):
        return os.system, ("true",)


def poison(folder):
    torch.save({"state_dict": {"module.other.weight": torch.ones(3)}, "evil": Evil()}, folder / WEIGHTS)


@pytest.mark.parametrize(("harm", "reason"), [(rob, "weight"), (poison, "posix.system")])
def test_model_that_is_refused_is_no_matter_of_time_and_is_served_once_it_is_mended(settings, root, harm, reason):
    whole = (root / "second" / WEIGHTS).read_bytes()
    harm(root / "second")
    changes = {"models": str(root), "default_model": "second"}
    service = Service(settings.model_copy(update=changes))
    service.start()
    try:
        with pytest.raises(NotReady, match="POINTSERVE_DEFAULT_MODEL") as not_ready:
            service.wait_ready(120)
        assert reason in not_ready.value.detail
        assert service.status().state == "empty"
        assert ask_model(service, "first") == "first"
        for name in ("second", ""):
            with pytest.raises(BadModel, match=reason) as caught:
                ask_model(service, name)
            assert caught.value.retry_after_s is None
        (root / "second" / WEIGHTS).write_bytes(whole)
        wait_until(lambda: service.status().state == "ready", 120)
        assert ask_model(service, "") == "second"
    finally:
        service.stop(0.0)


def test_service_whose_only_model_is_refused_says_so_at_once(settings, root):
    rob(root / "first")
    service = Service(settings.model_copy(update={"models": str(root / "first")}))
    service.start()
    try:
        with pytest.raises(NotReady, match="No model is served"):
            service.wait_ready(120)
        with pytest.raises(BadModel, match=r"No model is served\. first"):
            ask_model(service, "")
        assert service.status().retry_after_s is None
    finally:
        service.stop(0.0)


def test_model_whose_folder_was_away_is_served_again_and_one_that_was_unloaded_is_not(service, root):
    service.unload("first")
    (root / "second").rename(root / "away")
    lose_engine(service)
    wait_until(lambda: service.status().engines[0].state == "ready", 60)
    (root / "away").rename(root / "second")
    wait_until(lambda: "second" in served(service), 60)
    assert "first" not in served(service)
    with pytest.raises(NotFound, match="unloaded"):
        ask_model(service, "first")


def test_service_without_any_model_loads_one_on_request_and_by_itself(service, root):
    restore = [damage(root / name / WEIGHTS) for name in ("first", "second")]
    lose_engine(service)
    wait_until(lambda: service.status().state == "empty", 60)
    assert service.is_alive
    with pytest.raises(NotReady):
        ask(service, npz_bytes(300))
    restore[0]()
    assert service.load("first").served
    assert service.status().state == "ready"
    restore[1]()
    wait_until(lambda: served(service) == ["first", "second"], 60)


def test_service_whose_folders_were_all_away_comes_back(service, root):
    root.rename(root.with_name("gone"))
    lose_engine(service)
    wait_until(lambda: service.status().state == "failed", 60)
    assert service.status().reason.endswith(" encoder.")
    with pytest.raises(NotReady, match="no experiment") as caught:
        ask(service, npz_bytes(300))
    assert caught.value.retry_after_s > 0
    with pytest.raises(NotReady, match="no experiment"):
        service.load("first")
    root.with_name("gone").rename(root)
    assert service.load("first").served
    assert service.status().state == "ready"
    assert ask_model(service, "second") == "second"


def test_engine_that_rests_is_started_by_loading_a_model(settings, tmp_path, monkeypatch):
    """One whose process does not start at all: the pause is far too long to be waited for."""
    monkeypatch.setattr("app.processes.PACKAGE_ROOT", tmp_path / "nowhere")
    service = Service(settings.model_copy(update={"engine_failures": 2, "engine_pause_s": 600.0}))
    service.start()
    try:
        wait_until(lambda: service.status().state == "paused", 60)
        with pytest.raises(NotReady, match="2 times in a row") as caught:
            ask(service, npz_bytes(300))
        assert 500 < caught.value.retry_after_s <= 600
        with pytest.raises(NotReady, match="could not be started"):
            service.load(EXPERIMENT.name)
        monkeypatch.undo()
        assert service.load(EXPERIMENT.name).served
        assert service.status().state == "ready"
        assert len(ask(service, npz_bytes(300))) > 300
    finally:
        service.stop(0.0)


def test_service_whose_thread_of_an_engine_ended_is_not_alive(settings, monkeypatch):
    service = Service(settings)
    service.start()
    try:
        service.wait_ready(120)
        assert service.is_alive

        def end(*arguments):
            raise SystemExit

        monkeypatch.setattr(service._scheduler, "take", end)
        wait_until(lambda: not service.is_alive)
        wait_until(lambda: service.status().state == "failed")
        with pytest.raises(NotReady, match="restart"):
            ask(service, npz_bytes(300))
        with pytest.raises(NotReady, match="restart"):
            service.load(EXPERIMENT.name)
    finally:
        service.stop(0.0)
