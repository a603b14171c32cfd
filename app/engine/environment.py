"""Environment variables that child processes inherit; settings reach them in other ways."""

import os
import re

# For Python, its libraries and their data, languages and temporary files; nothing of who runs the service or where.
PLAIN = re.compile(
    r"PATH|LD_LIBRARY_PATH|LD_PRELOAD|PYTHON\w*|VIRTUAL_ENV|CONDA_PREFIX|HOME|TMPDIR|TZ|LANG|LANGUAGE|LC_\w+|"
    r"PROJ_\w+|GDAL_DATA|OMP_\w+|MALLOC_\w+|[ALTU]+SAN_OPTIONS"
)
HIDDEN = re.compile(
    r"^POINTSERVE_|KEY|TOKEN|SECRET|PASSW|CREDENTIAL|AUTH|COOKIE|HEADERS|_DSN|DATABASE_URL", re.IGNORECASE
)


def plain_environment() -> dict[str, str]:
    """The few variables that a process needs which reads hostile files."""
    return {name: value for name, value in os.environ.items() if PLAIN.fullmatch(name)}


def open_environment() -> dict[str, str]:
    """All variables, as libraries for devices have many, without settings and those that are called like secrets."""
    return {name: value for name, value in os.environ.items() if not HIDDEN.search(name)}
