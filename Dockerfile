# One image for Ray's head, its workers, the submitter of a sweep and the MLflow server: one lock, so their versions agree.
#   docker build -t multibodies:0.1.0 --build-arg COMMIT=$(git rev-parse HEAD) .           CPU
#   docker build -t multibodies:0.1.0-cuda --build-arg COMMIT=$(git rev-parse HEAD) \
#     --build-arg TORCH_INDEX=https://pypi.org/simple .                                    GPU (PyPI's wheel brings CUDA)
FROM python:3.11.14-slim-bookworm AS build

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
COPY requirements.lock ./
COPY k8s/requirements.lock k8s/
# Into a prefix, from which the last stage takes files only: no compiler, no pip cache, no build arguments.
RUN pip install --prefix=/install --ignore-installed --extra-index-url "$TORCH_INDEX" \
    -r requirements.lock -r k8s/requirements.lock
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY platform/multibodies platform/multibodies
RUN PYTHONPATH=/install/lib/python3.11/site-packages \
    pip install --prefix=/install --ignore-installed --no-deps --no-build-isolation .

FROM python:3.11.14-slim-bookworm

# /usr/local, because a login shell resets PATH and KubeRay may start Ray from one.
COPY --from=build /install /usr/local
COPY jobs /app/jobs
COPY sweeps /app/sweeps
# The root filesystem is read-only on the cluster: all that is written goes to /tmp and /runs.
ENV HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    MPLCONFIGDIR=/tmp/matplotlib NUMBA_CACHE_DIR=/tmp/numba \
    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE \
    RAY_USAGE_STATS_ENABLED=0 MLFLOW_DISABLE_TELEMETRY=true DO_NOT_TRACK=true
# Each run tells MLflow its commit; an image holds no .git: --build-arg COMMIT=$(git rev-parse HEAD)
ARG COMMIT=unknown
LABEL org.opencontainers.image.revision=$COMMIT
ENV MULTIBODIES_COMMIT=$COMMIT
RUN useradd --uid 1000 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin multibodies
USER 1000:1000
WORKDIR /app
CMD ["multibodies", "--help"]
