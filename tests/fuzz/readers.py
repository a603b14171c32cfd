"""Every reader under coverage-guided mutation (atheris), each in a process of its own.

    python -m tests.fuzz.readers --seconds 60 [FORMAT …]

Ends with 1 where an input led to anything but a cloud or a problem, hung, or took too much memory; such inputs are in
build/fuzz. ``python -m tests.fuzz.guided FORMAT FILE`` runs one of them again.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from app.clouds.catalog import READERS
from tests.fuzz.seeds import seeds

ARTIFACTS = Path("build/fuzz")
HANG_S = 30
MEMORY_MIB = 4096
MAX_BYTES = 1 << 16


def main() -> None:
    """Fuzz the formats one after the other and print what was done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("formats", nargs="*", choices=[[], *READERS], help="all, where none is named")
    parser.add_argument("--seconds", type=int, default=60, help="for each format")
    arguments = parser.parse_args()
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    failed = [name for name in arguments.formats or READERS if not holds(name, arguments.seconds)]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}; the inputs are in {ARTIFACTS}")


def holds(format: str, seconds: int) -> bool:
    """Whether the reader of ``format`` did; prints one line, and the end of the log where it did not."""
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seed for seed in seeds() if seed.format == format):
            (Path(corpus) / str(number)).write_bytes(bytes([number]) + seed.data)
        limits = [f"-timeout={HANG_S}", f"-rss_limit_mb={MEMORY_MIB}", f"-max_len={MAX_BYTES}"]
        limits += [f"-max_total_time={seconds}", f"-artifact_prefix={ARTIFACTS}/{format}-"]
        command = [sys.executable, "-m", "tests.fuzz.guided", format, *limits, corpus]
        done = subprocess.run(command, capture_output=True, text=True)
    counts = re.findall(r"^#(\d+)\s.*?cov: (\d+)", done.stderr, re.MULTILINE)
    inputs, edges = counts[-1] if counts else ("0", "0")
    print(f"{format:9} {'held' if done.returncode == 0 else 'FAILED':6} {inputs:>9} inputs, {edges} edges", flush=True)
    if done.returncode:
        print((done.stdout + done.stderr)[-3000:])
    return done.returncode == 0


if __name__ == "__main__":
    main()
