"""A front, in one process with the owner's ends of what it is started with."""

import threading
from concurrent.futures import ThreadPoolExecutor, wait

from app.engine.channel import Channel
from app.engine.counts import Counts
from app.engine.web_protocol import Ask
from app.http.front.handover import Handover
from app.http.front_process import FrontProcess
from app.http.measured import Measured
from app.http.measures import Measures
from app.settings import Settings
from tests.engine.engine_samples import in_seconds


def test_what_a_front_has_counted_never_arrives_after_what_it_counted_later(monkeypatch):
    ours, theirs = Channel.pair()
    handover, other = Handover.pair()
    counts = Counts.create(2)
    front = FrontProcess(
        Channel(theirs), Handover(other), Counts(counts.fd, 2, 1), Settings(device="cpu"), reader_mib=100
    )
    counted, goes_on = iter([1.0, 2.0]), threading.Event()

    def told(measures: Measures) -> Measured:
        number = next(counted)
        if number == 1:
            goes_on.wait(30)
        return Measured({"requests": {("requests", ()): number}})

    monkeypatch.setattr(Measures, "told", told)
    with ThreadPoolExecutor(2) as threads:
        unasked = threads.submit(front._tell)
        asked = threads.submit(front._answer, Ask(0, "measures"))
        wait([asked], 0.5)  # it has counted more, and may have told
        goes_on.set()
        wait([unasked, asked])
    arrived = [Measured.of(ours.receive(in_seconds(5))[0].value) for _ in range(2)]
    assert [each.values["requests"]["requests", ()] for each in arrived] == [1, 2]
    ours.close()
    handover.close()
