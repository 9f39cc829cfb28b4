# The server of embedpipe: `docker compose build && docker compose up`, see docs/serve.md.
# It runs as a user without rights; its root file system may be read-only: all it writes to are /artifacts, /cache and /tmp.

FROM python:3.12-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/embedpipe
# torch for the CPU alone: without this, the packages for GPUs come along (3 GB)
RUN /opt/embedpipe/bin/pip install --index-url https://download.pytorch.org/whl/cpu torch torchvision
COPY pyproject.toml README.md LICENSE /src/
COPY embedpipe /src/embedpipe
RUN /opt/embedpipe/bin/pip install "/src[web]"

FROM python:3.12-slim
# OpenMP for faiss and scikit-learn; fonts draw the names of types in pictures
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 fonts-dejavu-core \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /home/embedpipe embedpipe \
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
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8765/healthz', timeout=4)"]
ENTRYPOINT ["embedpipe"]
CMD ["serve", "--host", "0.0.0.0", "--artifacts", "/artifacts", "--inbox", "/inbox"]
