"""The two clients: one for threads, one for asyncio."""

from __future__ import annotations

from types import TracebackType
from typing import TypeVar

from pointserve_client import calls
from pointserve_client import jobs as _jobs
from pointserve_client.driver import Blocking, Suspending, blocking
from pointserve_client.errors import BadAddress
from pointserve_client.transport import Transport
from pointserve_client.waits import PATIENCE_S, OnWait

Self = TypeVar("Self")


class _Client(calls.Caller):
    _kind: type[Blocking] | type[Suspending]

    def __init__(
        self,
        url: str,
        key: str = "",
        *,
        timeout_s: float = 600.0,
        patience_s: float = PATIENCE_S,
        on_wait: OnWait = lambda problem, wait_s: None,
    ):
        """Ask the server at ``url``, such as ``http://localhost:5001``.

        Args:
            key: the key that the server wants, if it does.
            timeout_s: seconds for which the server may be silent.
            patience_s: seconds from the begin of a request for which it is sent again, after the server said 429, 503
                or was no longer reached: after as long as Retry-After says, else after longer and longer pauses. A
                server that was never reached is tried for a few seconds.
            on_wait: called with the reason and the seconds of each pause.

        Raises:
            BadAddress: ``url`` is no address, or the environment names proxies or certificates that cannot be used.
            Unauthorized: ``key`` cannot be sent.
        """
        try:
            self._driver = self._kind()
        except (ImportError, OSError, ValueError) as error:
            raise BadAddress(
                f"Proxies or certificates of the environment cannot be used ({error}): see HTTP_PROXY, HTTPS_PROXY, "
                "ALL_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR."
            ) from error
        self._transport = Transport(self._driver, url, key, timeout_s, on_wait)
        self._patience_s = patience_s


class AsyncClient(_Client):
    """Asks one server from coroutines of asyncio. A task that is cancelled closes its connection."""

    _kind = Suspending

    predict = calls.predict
    predict_file = calls.predict_file
    models = calls.models
    load = calls.load
    reload = calls.reload
    unload = calls.unload
    health = calls.health
    check_live = calls.check_live
    check_ready = calls.check_ready
    wait_ready = calls.wait_ready
    diagnostics = calls.diagnostics
    submit = _jobs.submit
    submit_sources = _jobs.submit_sources
    jobs = _jobs.jobs
    job = _jobs.job
    wait_job = _jobs.wait_job
    fetch_job = _jobs.fetch_job
    job_answers = _jobs.job_answers
    fetch_answer = _jobs.fetch_answer
    retry_job = _jobs.retry_job
    remove_job = _jobs.remove_job
    close = calls.close

    async def __aenter__(self: Self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class Client(_Client):
    """Asks one server; for any number of threads."""

    _kind = Blocking

    predict = blocking(calls.predict)
    predict_file = blocking(calls.predict_file)
    models = blocking(calls.models)
    load = blocking(calls.load)
    reload = blocking(calls.reload)
    unload = blocking(calls.unload)
    health = blocking(calls.health)
    check_live = blocking(calls.check_live)
    check_ready = blocking(calls.check_ready)
    wait_ready = blocking(calls.wait_ready)
    diagnostics = blocking(calls.diagnostics)
    submit = blocking(_jobs.submit)
    submit_sources = blocking(_jobs.submit_sources)
    jobs = blocking(_jobs.jobs)
    job = blocking(_jobs.job)
    wait_job = blocking(_jobs.wait_job)
    fetch_job = blocking(_jobs.fetch_job)
    job_answers = blocking(_jobs.job_answers)
    fetch_answer = blocking(_jobs.fetch_answer)
    retry_job = blocking(_jobs.retry_job)
    remove_job = blocking(_jobs.remove_job)
    close = blocking(calls.close)

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
