"""The command line: ``pointserve`` and ``python -m app.cli``."""

import sys


def main() -> None:
    """Run the command that the arguments name.

    Problems of the user's making end as one line on stderr and exit code 1, wrong usage with 2, Ctrl-C with 130.
    """
    from app.errors import Problem

    try:
        from .commands import app

        app(prog_name="pointserve")
    except Problem as problem:
        _fail(problem.detail)
    except ImportError as error:
        _fail(f"{error}. Run `pointserve diagnose` to see what this installation lacks.")
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(message: str) -> None:
    print("pointserve:", " ".join(message.split()), file=sys.stderr)
    sys.exit(1)
