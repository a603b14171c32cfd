"""Limits of open descriptors: how many connections and requests the process can hold."""

import errno
import fcntl
import logging
import os
import resource
import threading
from contextlib import suppress

from app.errors import storage_problem
from app.settings import Settings

MOST = 65536
A_REQUEST = 8  # body, parts of a form, cloud, segmentation and answer, here and on their way to an engine
A_READER = 4
A_JOB = 600  # decoded files and rings of a job that wait for use
ELSE = 64  # libraries, engines, the port, processes that report
LEAST_CONNECTIONS = 16

_looking = threading.Lock()

log = logging.getLogger(__name__)


def raise_limit() -> None:
    """Raise the limit of this process, and of those that it starts, as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def fitted(settings: Settings) -> Settings:
    """``settings`` with as many places for requests, and connections, as there are descriptors for; says so in the log.

    Places come first, as long as a quarter is left to connections.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    here = soft - ELSE - A_READER * settings.readers - A_JOB * bool(settings.jobs_dir)
    queue_requests = min(settings.queue_requests, max(1, here * 3 // 4 // A_REQUEST))
    max_connections = min(settings.max_connections, max(LEAST_CONNECTIONS, here - A_REQUEST * queue_requests))
    fitting = {"queue_requests": queue_requests, "max_connections": max_connections}
    for name, number in fitting.items():
        if number < getattr(settings, name):
            log.warning("There are %d descriptors (ulimit -n), so POINTSERVE_%s is %d.", soft, name.upper(), number)
    return settings.model_copy(update=fitting)


def check_left() -> None:
    """Raise NotReady unless descriptors for two requests are left: what an engine sends would be lost without one.

    The kernel gives the lowest number that is free. So if the one that far below the limit is free, few are in use, and
    one call shows it; else, as after a crowd of which some at the top have stayed, as many as are needed are tried.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(0, min(soft, MOST) - 2 * A_REQUEST)
    taken: list[int] = []
    with _looking:
        try:
            with suppress(OSError):  # all from there on are in use
                taken.append(fcntl.fcntl(2, fcntl.F_DUPFD_CLOEXEC, wanted))
            if taken != [wanted]:
                taken.extend(os.dup(2) for _ in range(2 * A_REQUEST - len(taken)))
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise storage_problem(error, "this request") from None
        finally:
            for descriptor in taken:
                os.close(descriptor)
