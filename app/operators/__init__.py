"""Every public operator of the compiled libraries: how to call it and what it should give; a file a library.

Tests, ``pointserve verify``, diagnostics and benchmarks iterate over these tables.
"""

LIBRARIES = ("sparseops", "pointops", "pointgroup_ops")
