# The gateway: docker build --tag moorage .
#
# The version of Python is the one that the tests run on. PIP_INDEX_URL names another package index, such as a company's mirror;
# what comes from it must have the hashes of requirements.lock.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG PIP_INDEX_URL
WORKDIR /src
# One environment builds and stays behind; the other has no pip, and is what the image takes.
RUN python -m venv /opt/build && python -m venv --without-pip /opt/moorage
COPY requirements.lock ./
RUN /opt/build/bin/pip --python /opt/moorage install --no-cache-dir --only-binary :all: --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY gateway gateway
COPY storage storage
RUN /opt/build/bin/pip --python /opt/moorage install --no-cache-dir --no-deps --no-build-isolation --no-index . \
    && /opt/build/bin/pip --python /opt/moorage uninstall --yes setuptools

FROM ${BASE}
ARG REVISION=
LABEL org.opencontainers.image.title="moorage" \
      org.opencontainers.image.description="A container registry whose only state is an S3-compatible bucket" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/moorage /opt/moorage
# The store that serves where no bucket is named. It is the working directory too, the last place in which Python looks for room
# for temporary files, should there be no /tmp that can be written.
RUN install --directory --owner=65532 --group=65532 --mode=0700 /var/lib/moorage
ENV PATH=/opt/moorage/bin:$PATH
ENV MOORAGE_LISTEN=0.0.0.0:5000
ENV MOORAGE_STORE=file:/var/lib/moorage
USER 65532:65532
WORKDIR /var/lib/moorage
VOLUME /var/lib/moorage
EXPOSE 5000
# Whether the process answers. A store that is away is no reason to start it anew: that is for load balancers, which ask /readyz.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import http.client as h, os; from gateway.values import Address; at = Address.parse(os.environ['MOORAGE_LISTEN']).from_here(); c = h.HTTPConnection(at.host, at.port, timeout=4); c.request('GET', '/livez'); exit(c.getresponse().status != 200)"]
ENTRYPOINT ["moorage"]
CMD ["serve"]
