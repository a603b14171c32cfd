"""Environment variables that keep the threads of a computation from spinning."""

import os


def thread_environment() -> dict[str, str]:
    """Variables that a process needs in its environment before it imports torch and numpy.

    OpenMP's threads spin while they wait for each other. On cores that other processes use too, they spin away the
    time that the last of them needs, and a pass takes ten times as long. They sleep, unless OMP_WAIT_POLICY is set.
    Those of numpy's BLAS can only spin: it gets one, unless OPENBLAS_NUM_THREADS is set.
    """
    chosen = {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1"}
    return {name: os.environ.get(name, value) for name, value in chosen.items()}
