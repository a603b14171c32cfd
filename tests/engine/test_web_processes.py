import pytest

from app.engine import web_processes
from app.engine.memory_plan import READER_BYTES, WEB_BYTES, MemoryPlan
from app.engine.web_processes import MOST, num_processes, readers
from app.settings import MIB, Settings

GPUS = ",".join(f"cuda:{number}" for number in range(8))


@pytest.mark.parametrize(
    ("device", "cores", "expected"),
    [
        ("cpu", 64, 1),
        ("auto", 64, 1),
        ("cuda:0", 64, 1),
        ("cpu,cpu,cpu", 64, 1),
        ("cuda:0,cuda:1", 64, 3),
        ("cuda:0,cuda:1", 4, 2),
        ("cuda:0,cuda:1", 1, 1),
        (GPUS, 64, MOST),
    ],
)
def test_number_follows_gpus_and_cores_unless_it_is_given(monkeypatch, device, cores, expected):
    monkeypatch.setattr(web_processes, "usable_cores", lambda: cores)
    assert num_processes(Settings(device=device)) == expected
    assert num_processes(Settings(device=device, web_processes=7)) == 7


@pytest.mark.parametrize(
    ("given", "number", "has_jobs", "expected"),
    [(8, 1, False, (8, 0)), (8, 5, False, (1, 2)), (2, 5, False, (1, 1)), (8, 3, True, (4, 2)), (1, 2, True, (1, 1))],
)
def test_readers_are_shared_out(tmp_path, given, number, has_jobs, expected):
    settings = Settings(readers=given, jobs_dir=tmp_path if has_jobs else None)
    assert readers(settings, number) == expected


def test_every_process_takes_of_the_memory_for_requests(monkeypatch):
    for name in ("available_bytes", "memory_limit_bytes"):
        monkeypatch.setattr(f"app.engine.memory_plan.{name}", lambda: 20_000 * MIB)
    settings = Settings(readers=4)
    one, three = (MemoryPlan.of(settings, ["cpu"], number).shared_bytes for number in (1, 3))
    assert one - three == 2 * WEB_BYTES + READER_BYTES
