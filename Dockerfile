# The CPU image: the service on a plain processor.
#   docker build -t ml-service:cpu .
# docs/image.md says how it is run and checked. Wheels of torch that are at hand: --build-context wheels=FOLDER.
ARG BASE_IMAGE=python:3.11-slim-bookworm

# nothing, unless --build-context wheels=FOLDER takes its place
FROM scratch AS wheels
WORKDIR /

FROM ${BASE_IMAGE} AS builder
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends g++ \
    && python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /build
COPY requirements.lock ./
# where torch without CUDA is; empty: only wheels and the usual index
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=bind,from=wheels,target=/wheels \
    pip install ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} --find-links /wheels --constraint requirements.lock \
        torch numpy setuptools wheel ninja
ARG MAX_JOBS=4
COPY libs ./libs
RUN MAX_JOBS=$MAX_JOBS pip install --no-cache-dir --no-build-isolation --no-deps \
        ./libs/sparseops ./libs/pointops ./libs/pointgroup_ops ./libs/pointserve_client
COPY pyproject.toml README.md LICENSE ./
COPY app ./app
# 1: with Ray, for surveys on a cluster
ARG RAY=
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --no-build-isolation --constraint requirements.lock ".[e57,gs,https,s3${RAY:+,ray}]"

FROM ${BASE_IMAGE} AS runtime
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends libgomp1 tini \
    && useradd --uid 10001 --user-group --create-home pointserve \
    && install -d -o pointserve -g pointserve /models /spool /jobs
COPY --from=builder /opt/venv /opt/venv
WORKDIR /app
COPY entrypoint.sh ./
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    POINTSERVE_DEVICE=cpu \
    POINTSERVE_HOST=0.0.0.0 \
    POINTSERVE_SPOOL_DIR=/spool
USER 10001:10001
RUN pointserve sample --size-m 20 /tmp/tile.laz \
    && pointserve predict /tmp/tile.laz -o /tmp/out.laz \
    && rm /tmp/tile.laz /tmp/out.laz

ARG VERSION=0.1.0
ARG REVISION=unknown
ARG BASE_IMAGE
LABEL org.opencontainers.image.title="pointserve" \
      org.opencontainers.image.description="A class for every point of a cloud over HTTP, on a processor" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"

EXPOSE 5001
VOLUME ["/models", "/spool"]
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ.get('POINTSERVE_PORT', 5001)}/health/ready\", timeout=4)"]
ENTRYPOINT ["tini", "--", "/app/entrypoint.sh"]
CMD ["serve"]
