from app.bench.load import RequestSample
from benchmarks.faults import silence_s


def sample(ended: float, status: int = 200) -> RequestSample:
    return RequestSample("cloud", 1.0, status, ended=ended)


def test_silence_is_between_good_answers_of_which_the_later_counts():
    samples = [sample(1), sample(2), sample(9, 503), sample(12), sample(13), sample(20)]
    assert silence_s(samples, 0, 3) == 1
    assert silence_s(samples, 3, 14) == 10
    assert silence_s(samples, 14, 19) == 0
