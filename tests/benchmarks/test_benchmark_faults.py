from app.bench.load import Shot
from benchmarks.faults import silence_s


def shot(ended: float, status: int = 200) -> Shot:
    return Shot("cloud", 1.0, status, ended=ended)


def test_silence_is_between_good_answers_of_which_the_later_counts():
    shots = [shot(1), shot(2), shot(9, 503), shot(12), shot(13), shot(20)]
    assert silence_s(shots, 0, 3) == 1
    assert silence_s(shots, 3, 14) == 10
    assert silence_s(shots, 14, 19) == 0
