"""Child process: imports one library of the optional stack, by its module, and answers with its state."""

import importlib
import importlib.metadata
import sys

from .attempt import answer, reason_of


def probe(module: str) -> dict[str, str]:
    """State ok with a version, absent, or broken with a reason, of the library that ``module`` belongs to."""
    top = module.partition(".")[0]
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        return {"state": "absent"} if error.name == top else {"state": "broken", "reason": str(error)}
    except BaseException as error:
        return {"state": "broken", "reason": reason_of(error)}
    return {"state": "ok", "version": _version(top)}


def _version(top: str) -> str:
    version = getattr(sys.modules[top], "__version__", None)
    if version is None:
        names = importlib.metadata.packages_distributions().get(top, [])
        version = importlib.metadata.version(names[0]) if names else "unknown"
    return str(version)


if __name__ == "__main__":
    answer(probe, sys.argv[1])
