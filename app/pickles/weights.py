"""Names under which programs that train store the weights in a checkpoint."""

WEIGHTS = ("state_dict", "model_state_dict", "model", "model_state", "network", "net", "module", "weights")
"""The surest first."""
