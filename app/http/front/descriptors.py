"""How many descriptors this process may have, and how they are shared out."""

import resource

MOST = 65536
SHARE_A_REQUEST = 8  # body, parts of a form, cloud, segmentation and answer, here and on their way to an engine
SHARE_ELSE = 96  # libraries, readers, engines, the port


def raise_limit() -> None:
    """Raise the limit of this process, and of those that it starts, as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def connections_that_fit(max_connections: int, queue_requests: int) -> int:
    """As many connections as leave descriptors for the requests that are worked on; a quarter of all, at least."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(max_connections, max(soft // 4, soft - SHARE_A_REQUEST * queue_requests - SHARE_ELSE))
