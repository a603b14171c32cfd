from app.engine import busy_time
from app.engine.busy_time import BusyTime


def test_time_with_several_batches_is_counted_once(monkeypatch):
    now_s = 100.0
    monkeypatch.setattr(busy_time.time, "monotonic", lambda: now_s)
    busy = BusyTime()
    with busy.working():
        now_s += 1
        with busy.working():
            now_s += 2
        now_s += 4
    assert busy.total_s == 7
    now_s += 8
    with busy.working():
        now_s += 16
        busy.add_device_s(3)
    assert (busy.total_s, busy.device_s) == (23, 3)
