# The HTTP service: accepts scans and returns results. Its environment has no torch, compiler or pip.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv --without-pip /opt/venv
COPY pyproject.toml constraints.txt deploy/requirements.py ./
RUN python requirements.py api > requirements.txt \
    && python -m pip --python /opt/venv/bin/python install -c constraints.txt -r requirements.txt \
    && find /opt/venv -type d -name tests -prune -exec rm -rf {} +
# The API reads the models' cards, and checks that their weights are complete.
COPY models models
RUN mkdir -p store

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="VoxelQ API" \
      org.opencontainers.image.description="Accepts MRI scans and returns masks; not a medical device" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    VOXELQ_STORE_URL=file:///store
WORKDIR /app
COPY --from=build --chown=10001:10001 /src/store /store
COPY --from=build /opt/venv /opt/venv
COPY --from=build /src/models models
COPY shared shared
COPY api api
USER 10001:10001
VOLUME /store
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/livez', timeout=2)"]
CMD ["python", "-m", "api", "--host", "0.0.0.0", "--port", "8080"]
