#!/usr/bin/env bash
# Builds the GPU image, runs every smoke test and writes what came out to build_report.txt.
#   ./build_and_test.sh [--cpu] [--no-build] [--build-arg NAME=VALUE]...
# --cpu: the CPU image instead. --no-build: test the image that is there. IMAGE: its name.
# Tests that need a GPU run where docker offers one, else the report says that they did not. Exit code 1 where one failed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

DOCKERFILE=Dockerfile.gpu
IMAGE_DEFAULT=ml-service:conda-cuda124
build=true
build_args=()
while [ $# -gt 0 ]; do
    case $1 in
        --cpu) DOCKERFILE=Dockerfile IMAGE_DEFAULT=ml-service:cpu ;;
        --no-build) build=false ;;
        --build-arg) build_args+=(--build-arg "${2:?--build-arg needs NAME=VALUE}") && shift ;;
        -h | --help) sed -n '2,5s/^# \{0,1\}//p' "$0" && exit ;;
        *) echo "unknown argument $1; see --help" >&2 && exit 2 ;;
    esac
    shift
done
IMAGE=${IMAGE:-$IMAGE_DEFAULT}
REPORT=${REPORT:-build_report.txt}
BUILD_OPTIONS=${BUILD_OPTIONS:-} RUN_OPTIONS=${RUN_OPTIONS:-} # further options of docker buildx build and docker run
failed=0
container=
log=

command -v docker >/dev/null || { echo "docker is not installed: https://docs.docker.com/engine/install" >&2; exit 1; }
docker info >/dev/null || { echo "the docker engine does not answer: is it started, and may you use it?" >&2; exit 1; }

gpus=()
if docker info --format '{{json .Runtimes}}' | grep -q nvidia || [ -e /etc/cdi/nvidia.yaml ]; then gpus=(--gpus all); fi

# shellcheck disable=SC2329  # called by the trap
clean() {
    rm -f "$log"
    if [ -n "$container" ]; then docker rm --force "$container" >/dev/null 2>&1 || true; fi
}
trap clean EXIT

report() { echo "$*" | tee -a "$REPORT"; }

# check NAME COMMAND...: runs it, reports ok or FAILED with the last lines of what it said
check() {
    local name=$1 out started=$SECONDS
    shift
    if out=$("$@" 2>&1); then
        report "ok      $name ($((SECONDS - started)) s)"
    else
        failed=$((failed + 1))
        report "FAILED  $name"
    fi
    tail -n 60 <<<"$out" | sed 's/^/        /' >>"$REPORT"
}

# run_in [OPTION...] -- COMMAND...
run_in() {
    local options=()
    while [ "$1" != -- ]; do options+=("$1") && shift; done
    shift
    # shellcheck disable=SC2086  # several options
    docker run --rm "${gpus[@]}" $RUN_OPTIONS "${options[@]}" "$IMAGE" "$@"
}

# what pointserve diagnose --deep says, with more patience: a first start reads gigabytes
DIAGNOSE='import json, sys
from app.diagnostics.report import report
facts = report(limit_s=240, deep=True)
print(json.dumps(facts["problems"], indent=1))
sys.exit(not facts["ok"])'

is_not_root() { [ "$(run_in -- id -u)" != 0 ]; }

is_read_only() { # it works where nothing but its volumes can be written
    run_in --read-only --tmpfs /tmp -- bash -c 'if touch /app/x 2>/dev/null; then echo "/app is writable"; exit 1; fi; touch /spool/x'
}

wait_until_healthy() {
    local state
    for _ in $(seq 180); do
        state=$(docker inspect --format '{{.State.Health.Status}}' "$container")
        if [ "$state" = healthy ]; then return; fi
        if [ "$(docker inspect --format '{{.State.Running}}' "$container")" != true ]; then break; fi
        sleep 1
    done
    echo "state: $state"
    docker logs --tail 30 "$container"
    return 1
}

serves() { # classifies a tile through the port of the service
    wait_until_healthy || return 1
    docker exec "$container" bash -c 'set -e; cd /tmp; pointserve sample --size-m 20 tile.laz
        python - <<PYTHON
import json, urllib.request
request = urllib.request.Request("http://127.0.0.1:5001/predict", open("tile.laz", "rb").read())
answer = json.load(urllib.request.urlopen(request, timeout=120))
assert len(answer["labels"]) == answer["num_points"] > 1000, answer["num_points"]
print(answer["num_points"], "points,", answer["model"])
PYTHON'
}

stops() { # SIGTERM reaches the service, which ends by itself
    docker stop --time 60 "$container" >/dev/null
    local code
    code=$(docker inspect --format '{{.State.ExitCode}}' "$container")
    docker logs --tail 5 "$container"
    [ "$code" = 0 ] || { echo "exit code $code"; return 1; }
}

: >"$REPORT"
report "$IMAGE from $DOCKERFILE, $(date -u +%Y-%m-%dT%H:%MZ), $(git rev-parse --short HEAD 2>/dev/null || echo 'no revision')"
if $build; then
    started=$SECONDS
    log=$(mktemp)
    # shellcheck disable=SC2086  # several options
    if docker buildx build --load $BUILD_OPTIONS --file "$DOCKERFILE" --tag "$IMAGE" \
        --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)" "${build_args[@]}" . 2>&1 | tee "$log"; then
        report "ok      build ($((SECONDS - started)) s)"
    else
        report "FAILED  build"
        report "$(python3 -m app.diagnostics --log "$log" || true)"
        exit 1
    fi
fi
report "        size $(docker image inspect --format '{{.Size}}' "$IMAGE" | awk '{printf "%.1f GB", $1 / 1e9}')"
if [ "$DOCKERFILE" = Dockerfile.gpu ]; then
    # shellcheck disable=SC2086  # several arguments
    check "stack" run_in -- python /app/test_cuda124_stack.sh ${STACK_CHECK:-}
    if [ ${#gpus[@]} = 0 ]; then report "skipped computations on a GPU: docker offers none"; fi
fi
check "diagnose" run_in -- python -c "$DIAGNOSE"
check "not root" is_not_root
check "read-only root" is_read_only
# shellcheck disable=SC2086  # several options
container=$(docker run --detach "${gpus[@]}" --read-only --tmpfs /tmp --health-interval 2s $RUN_OPTIONS "$IMAGE")
check "serve and predict" serves
check "stop" stops
if [ "$failed" = 0 ]; then report "all tests passed"; else report "$failed failed; details in $REPORT"; fi
[ "$failed" = 0 ]
