# Two images from a plain Debian base: `app` for the servers, the deciders, the projector and web, and
# `trainer` for the worker and inference, which need torch.
#
#   docker build --target app -t lifelog .
#   docker build --target trainer -t lifelog-trainer .

FROM debian:bookworm-slim AS base
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 python3-pip \
    && rm -rf /var/lib/apt/lists/* \
    && pip install --break-system-packages --no-cache-dir uv
WORKDIR /app
ENV UV_PYTHON=/usr/bin/python3 \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1 \
    PATH=/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    LIFELOG_HOME=/data
COPY . .
ENTRYPOINT ["lifelog"]

FROM base AS app
RUN uv sync --frozen --no-default-groups \
    && python -c "from lifelog.servers import kafka_jars; kafka_jars.ensure(kafka_jars.cache(), kafka_jars.pinned())"

FROM base AS trainer
RUN uv sync --frozen --no-default-groups --group trainer
