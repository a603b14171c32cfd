"""``python -m app.cli``."""

from . import main

main()
