"""Exit codes by which an engine process says why it ended."""

DEVICE_LOST = 70  # the device can compute no more in that process
