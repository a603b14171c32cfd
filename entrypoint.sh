#!/usr/bin/env bash
# Entrypoint of the images: activates the conda environment where there is one, then runs the service (serve) or any
# other command in it.
# PID 1 is tini; what is run takes this script's place, so signals reach it.
#   INSTALL_POINTOPS_AT_RUNTIME=1   compile the libraries for the GPU that is here, kept under /cache, before anything runs
# Exit code 3: the driver cannot serve what was asked for; 4: the libraries could not be compiled.
set -eo pipefail # no -u: conda's scripts read variables that are not set

CONDA_ROOT=${CONDA_ROOT:-/opt/conda}
APP_ROOT=${APP_ROOT:-/app}
CACHE=${XDG_CACHE_HOME:-/cache}
MODELS=${MODELS_FOLDER:-/models}
JOBS=${JOBS_FOLDER:-/jobs}
OLDEST_DRIVER=525.60.13 # of CUDA 12.x

# keys that compose hands on from the shell; those of its env file stay where the shell has none
[ -z "${SHELL_API_KEYS:-}" ] || export POINTSERVE_API_KEYS=$SHELL_API_KEYS
unset SHELL_API_KEYS

say() { echo "entrypoint: $*" >&2; }

is_older() { # is_older A B: whether version A is below B
    [ "$1" != "$2" ] && [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]
}

check_driver() { # 0: a GPU can be used; 1: there is none; 2: it cannot be used
    local answer driver
    if ! command -v nvidia-smi >/dev/null; then
        say "no NVIDIA driver in this container. For a GPU, start it with 'docker run --gpus all' (compose: deploy.resources" \
            "of docker-compose.ml.yml); that needs the NVIDIA Container Toolkit on the host."
        return 1
    fi
    if ! answer=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>&1); then
        say "nvidia-smi failed: $answer"
        case $answer in
            *NVML*) say "the devices were taken away or the driver was updated under a running kernel. After 'systemctl" \
                "daemon-reload' on the host, start the container again; if it comes back, set \"exec-opts\":" \
                "[\"native.cgroupdriver=cgroupfs\"] in /etc/docker/daemon.json. After a driver update, reboot the host." ;;
            *) say "make 'nvidia-smi' work on the host first." ;;
        esac
        return 2
    fi
    driver=$(head -n 1 <<<"$answer" | tr -d '[:space:]')
    if ! [[ $driver =~ ^[0-9]+(\.[0-9]+)+$ ]]; then
        say "nvidia-smi sees no GPU: ${answer:-it printed nothing}. Look at NVIDIA_VISIBLE_DEVICES and 'docker run --gpus'."
        return 1
    fi
    if is_older "$driver" "$OLDEST_DRIVER"; then
        say "CUDA runtime mismatch: driver $driver is too old for CUDA 12.4, which needs $OLDEST_DRIVER or newer." \
            "Update the driver on the host, or serve on the processor with POINTSERVE_DEVICE=cpu."
        return 2
    fi
}

compile_libraries() { # for the GPUs that are here, into a folder that is kept; put before the image's own
    local capabilities key folder unfinished library path=
    capabilities=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | tr -d ' ' | sort -uV | paste -sd ';')
    key=$(find "$APP_ROOT/libs" -type f ! -name '*.so' ! -path '*/__pycache__/*' ! -path '*.egg-info/*' -print0 | sort -z |
        xargs -0 sha256sum | sha256sum | cut -c 1-12)
    folder=$CACHE/libraries-${capabilities//;/_}-$key
    if [ ! -d "$folder" ]; then
        say "compiling the libraries for $capabilities into $folder; this takes minutes, once"
        mkdir -p "$CACHE" && unfinished=$(mktemp -d "$folder.XXXXXX") && cp -r "$APP_ROOT"/libs/. "$unfinished" || return 1
        find "$unfinished" -name '*.so' -delete
        for library in "$unfinished"/*/setup.py; do
            (cd "$(dirname "$library")" && TORCH_CUDA_ARCH_LIST=$capabilities FORCE_CUDA=${FORCE_CUDA:-1} \
                CC=${CC:-gcc} CXX=${CXX:-g++} python setup.py -q build_ext --inplace >&2) || return 1
        done
        rm -rf "$unfinished"/*/build
        mv -T "$unfinished" "$folder" 2>/dev/null || [ -d "$folder" ] || return 1 # or another container was first
    fi
    for library in "$folder"/*/setup.py; do path+=$(dirname "$library"):; done
    export PYTHONPATH=$path${PYTHONPATH:-}
}

if [ -n "${CONDA_DEFAULT_ENV:-}" ]; then
    # shellcheck source=/dev/null
    source "$CONDA_ROOT/etc/profile.d/conda.sh"
    conda activate "$CONDA_DEFAULT_ENV"
fi

# models that were mounted are served, else the bundled one
if [ -z "${POINTSERVE_MODELS:-}" ] && compgen -G "$MODELS/*" >/dev/null; then
    export POINTSERVE_MODELS=$MODELS
fi

# jobs are kept where a volume was mounted for them, else there are none
if [ -z "${POINTSERVE_JOBS_DIR:-}" ] && mountpoint -q "$JOBS"; then
    export POINTSERVE_JOBS_DIR=$JOBS
fi

serves=false
if [ $# -eq 0 ] || [ "$1" = serve ]; then serves=true; fi

wants_gpu=false # said, not hoped for
case ${POINTSERVE_DEVICE:-auto} in *cuda*) wants_gpu=true ;; esac

if [ "${POINTSERVE_DEVICE:-auto}" != cpu ] && { $serves || [ "${INSTALL_POINTOPS_AT_RUNTIME:-0}" = 1 ]; }; then
    state=0
    check_driver || state=$?
    if $serves && { [ "$state" = 2 ] || { [ "$state" = 1 ] && $wants_gpu; }; }; then exit 3; fi
    if [ "${INSTALL_POINTOPS_AT_RUNTIME:-0}" = 1 ]; then
        if [ "$state" != 0 ]; then
            say "INSTALL_POINTOPS_AT_RUNTIME=1: the libraries are not compiled again, there is no GPU to compile them for"
        elif ! compile_libraries; then
            say "the libraries could not be compiled. CUDA_HOME is '${CUDA_HOME:-}', TORCH_CUDA_ARCH_LIST the GPU's; the image's" \
                "own libraries are used with INSTALL_POINTOPS_AT_RUNTIME=0."
            exit 4
        fi
    fi
fi

if $serves; then exec pointserve serve "${@:2}"; fi
exec "$@"
