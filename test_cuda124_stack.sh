#!/usr/bin/env bash
""":"
# Checks the stack of the GPU image. `python test_cuda124_stack.sh` and `bash test_cuda124_stack.sh` are the same: bash
# reads these lines and starts Python, for which they are a string. --help lists the options.
if [ -z "${CONDA_PREFIX:-}" ] && [ -e "${CONDA_ROOT:-/opt/conda}/etc/profile.d/conda.sh" ]; then
    . "${CONDA_ROOT:-/opt/conda}/etc/profile.d/conda.sh"
    conda activate "${CONDA_DEFAULT_ENV:-pointcept-torch2.5.0-cu12.4}" || exit
fi
exec python "$0" "$@"
"""

import runpy
from pathlib import Path

runpy.run_path(str(Path(__file__).resolve().parent / "deploy" / "stack_check.py"), run_name="__main__")
