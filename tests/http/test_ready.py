"""What the log says until predictions can be made."""

from types import SimpleNamespace

from structlog.testing import capture_logs

from app.http import ready
from app.settings import Settings


class Waking:
    """A service that is empty when it is first asked, for a reason, and ready after that."""

    def __init__(self):
        self.answers = [("empty", "The model of POINTSERVE_DEFAULT_MODEL is not there.")] * 2 + [("ready", "")]

    def status(self):
        state, reason = self.answers.pop(0)
        return SimpleNamespace(state=state, reason=reason)

    def models(self):
        return []


def test_a_missing_model_is_told_once_as_an_error():
    with capture_logs() as logs:
        ready._watch(Waking(), Settings())
    assert [line["log_level"] for line in logs] == ["error", "info"]
    assert "POINTSERVE_DEFAULT_MODEL" in logs[0]["event"]
