"""``python -m benchmarks.sleeping_service``: the service with engines that sleep; settings are in its environment."""

from app.engine import engine_process
from app.engine.child import ChildProcess
from app.http.gunicorn import serve
from app.settings import Settings


class SleepingChild(ChildProcess):
    """A ``ChildProcess`` that runs the engine of this package in place of the service's own."""

    def __init__(self, module, *rest):
        super().__init__("benchmarks.sleeping_engine", *rest)


if __name__ == "__main__":
    engine_process.ChildProcess = SleepingChild  # type: ignore[misc]
    serve(Settings())
