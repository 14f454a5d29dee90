# The worker: one process that owns one network on one device.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
# The package index of torch's CPU builds, or of one CUDA release; empty: the default build,
# which on Linux includes CUDA. PyTorch's installation page lists the addresses.
ARG TORCH_INDEX_URL=
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv --without-pip /opt/venv
COPY pyproject.toml constraints.txt deploy/requirements.py ./
# A worker compiles nothing, so it needs no headers, test suites or build files.
RUN python requirements.py worker monai > requirements.txt \
    && python -m pip --python /opt/venv/bin/python install \
        ${TORCH_INDEX_URL:+--extra-index-url "$TORCH_INDEX_URL"} \
        -c constraints.txt -r requirements.txt \
    && find /opt/venv -type d -name tests -prune -exec rm -rf {} + \
    && rm -rf /opt/venv/lib/python3*/site-packages/torch/include \
        /opt/venv/lib/python3*/site-packages/torch/share \
        /opt/venv/lib/python3*/site-packages/torch/test \
    && mkdir store

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="VoxelQ worker" \
      org.opencontainers.image.description="Runs MRI scans through a 3D U-Net in micro-batches; not a medical device" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    VOXELQ_STORE_URL=file:///store
WORKDIR /app
COPY --from=build --chown=10001:10001 /src/store /store
COPY --from=build /opt/venv /opt/venv
COPY deploy/worker_health.py .
COPY models models
COPY shared shared
COPY worker worker
USER 10001:10001
VOLUME /store
HEALTHCHECK --interval=10s --timeout=8s --start-period=60s --retries=3 \
    CMD ["python", "worker_health.py"]
CMD ["python", "-m", "worker"]
