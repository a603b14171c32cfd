"""Exit codes of an engine process."""

DEVICE_LOST = 70  # the device cannot be used any more by that process
