"""Whether conda understands every spec of environment.yml: python specs.py environment.yml."""

import sys
from pathlib import Path

import yaml
from rattler import MatchSpec

environment = yaml.safe_load(Path(sys.argv[1]).read_text())
for spec in (entry for entry in environment["dependencies"] if isinstance(entry, str)):
    match = MatchSpec(spec, strict=True)
    if match.version is None:
        sys.exit(f"{spec}: no version")
