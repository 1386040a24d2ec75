# Two images from a plain Debian: `app` for the servers, the deciders, the clock, the projector and
# web, and `trainer` for the worker and inference, which need torch.
#
#   docker build --target app -t lifelog .
#   docker build --target trainer -t lifelog-trainer .
#
# What changes seldom comes first: a change of our code makes the last layers anew and fetches nothing.

FROM debian:bookworm-slim AS python
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /var/cache/debconf/*-old
# Programs that bring certificates of their own use the system's: a root that the base image was
# given then holds for them all.
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt \
    NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt \
    PYTHONUNBUFFERED=1
WORKDIR /app

FROM python AS tools
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-pip \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* \
    && pip install --break-system-packages --no-cache-dir 'uv>=0.9,<1'
ENV UV_PYTHON=/usr/bin/python3 \
    UV_PYTHON_DOWNLOADS=never \
    UV_LINK_MODE=copy \
    UV_COMPILE_BYTECODE=1 \
    UV_NO_CACHE=1

# What the pages load in a browser: the project's build fetches it, with a Node of its own.
FROM tools AS assets
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY web/assets web/assets
RUN uv build --wheel --out-dir /tmp/unused

# The dependencies, and the project as a pointer to /app, where its code will be.
FROM tools AS packages
COPY pyproject.toml uv.lock ./
RUN uv sync --frozen --no-default-groups --no-install-project
COPY hatch_build.py README.md LICENSE ./
COPY lifelog/__init__.py lifelog/
COPY web/assets web/assets
COPY --from=assets /app/web/static/vendor web/static/vendor
RUN uv sync --frozen --no-default-groups

FROM packages AS packages-trainer
RUN uv sync --frozen --no-default-groups --group trainer

# The broker's jars, each checked against its pinned digest.
FROM packages AS jars
COPY schemas/__init__.py schemas/errors.py schemas/
COPY schemas/faults schemas/faults
COPY lifelog/servers/__init__.py lifelog/servers/kafka_jars.py lifelog/servers/kafka.lock lifelog/servers/
RUN XDG_CACHE_HOME=/opt/cache .venv/bin/python -c \
    "from lifelog.servers import kafka_jars; kafka_jars.ensure(kafka_jars.cache(), kafka_jars.pinned())"

# An account of its own: both embedded servers run as whoever starts them, unless that is root.
FROM python AS running
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin lifelog \
    && install -d -o lifelog -g lifelog -m 700 /data
ENV PATH=/app/.venv/bin:$PATH \
    LIFELOG_HOME=/data
ENTRYPOINT ["lifelog"]

FROM running AS app
COPY --from=jars /opt/cache /opt/cache
ENV XDG_CACHE_HOME=/opt/cache
COPY --from=packages /app ./
COPY . .
RUN python3 -m compileall -q lifelog schemas streams projections vault trainer web
USER lifelog

FROM running AS trainer
COPY --from=packages-trainer /app ./
COPY . .
RUN python3 -m compileall -q lifelog schemas streams projections vault trainer web
USER lifelog
