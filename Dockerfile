# oversold with the servers that its strategies run on. From the root of a checkout:
#   docker build --tag oversold .
#   docker run --rm oversold run bid-burst --strategy redis-lua --users 1000
# PostgreSQL comes in a Python wheel. For the other servers: --build-arg SERVERS="redis-server memcached mariadb-server
# rabbitmq-server".
FROM python:3.13-slim-bookworm AS build
WORKDIR /src
COPY requirements.lock ./
# The lock file has the tools of developers as well: all are checked by their hashes here, what runs is picked below.
RUN pip download --quiet --disable-pip-version-check --require-hashes --dest /wheels --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY harness harness
COPY scenarios scenarios
COPY fixtures fixtures
RUN pip wheel --quiet --disable-pip-version-check --no-index --find-links /wheels --no-deps --wheel-dir /own . \
    && python -m venv /opt/oversold \
    && /opt/oversold/bin/pip install --quiet --disable-pip-version-check --no-cache-dir --no-index \
       --find-links /wheels --find-links /own oversold

FROM python:3.13-slim-bookworm
ARG SERVERS="redis-server memcached"
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $SERVERS \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/oversold /opt/oversold
COPY scenarios /scenarios
ENV PATH=/opt/oversold/bin:$PATH MPLCONFIGDIR=/tmp/matplotlib XDG_RUNTIME_DIR=/tmp
# Servers want a user that has a name. Its id is that of the first user of most machines, for folders that are mounted.
ARG UID=1000
RUN useradd --uid $UID --create-home oversold && mkdir -p /work/reports && chown -R oversold /work
USER oversold
WORKDIR /work
ENTRYPOINT ["oversold"]
CMD ["--help"]
