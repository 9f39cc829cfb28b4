# The server of embedpipe: `docker compose build && docker compose up`, see docs/serve.md.
# It runs as a user without rights; its root file system may be read-only: all it writes to are /artifacts, /cache and /tmp.

# where packages come from may be named otherwise: `docker compose build --build-arg PIP_INDEX_URL=...`, see docs/serve.md
ARG BASE=python:3.12-slim
FROM ${BASE} AS build
ARG PIP_INDEX_URL
# torch for the CPU alone: without this, the packages for GPUs come along (3 GB)
ARG TORCH_FROM="--index-url https://download.pytorch.org/whl/cpu"
ARG EXTRAS=web
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/embedpipe
RUN /opt/embedpipe/bin/pip install ${TORCH_FROM} torch torchvision
COPY pyproject.toml README.md LICENSE /src/
COPY embedpipe /src/embedpipe
RUN /opt/embedpipe/bin/pip install "/src[${EXTRAS}]"

FROM ${BASE}
ARG PACKAGES=""
RUN if [ -n "${PACKAGES}" ]; then \
        apt-get update && apt-get install --yes --no-install-recommends ${PACKAGES} && rm -rf /var/lib/apt/lists/*; \
    fi \
    && useradd --uid 10001 --no-create-home --home-dir /tmp embedpipe \
    && mkdir /artifacts /cache /inbox \
    && chown embedpipe /artifacts /cache
COPY --from=build /opt/embedpipe /opt/embedpipe
ENV PATH=/opt/embedpipe/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    EMBEDPIPE_CACHE=/cache
USER embedpipe
VOLUME ["/artifacts", "/cache"]
EXPOSE 8765
# not by urllib: that would ask a proxy, where Docker names one to its containers
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8765, timeout=4); \
c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["embedpipe"]
CMD ["serve", "--host", "0.0.0.0", "--artifacts", "/artifacts", "--inbox", "/inbox"]
