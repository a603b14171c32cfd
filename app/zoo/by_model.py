"""Settings that hold for all models, or for one by its name."""


def chosen(setting: str, name: str, default: str = "auto") -> str:
    """The value of ``name=value`` in ``setting``, whose parts are joined by ',', else the last one without a name."""
    parts = [part.strip().rpartition("=") for part in setting.split(",")]
    for wanted in (name, ""):
        values = [value for model, _, value in parts if model.strip() == wanted]
        if values:
            return values[-1]
    return default
