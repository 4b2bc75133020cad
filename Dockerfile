# The application: one image for every process (`tollbook serve`, `tollbook project`, ...).
# Everything installed is pinned by hash; the SDK and the application are installed from the tree.

FROM python:3.13-slim AS environment
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
RUN python -m venv /opt/tollbook
COPY requirements/runtime.txt requirements/build.txt /tmp/requirements/
RUN /opt/tollbook/bin/pip install --require-hashes \
        -r /tmp/requirements/runtime.txt -r /tmp/requirements/build.txt

FROM python:3.13-slim
RUN useradd --create-home --uid 10001 tollbook \
    && install -d -o tollbook -g tollbook -m 0700 /var/lib/tollbook
COPY --from=environment /opt/tollbook /opt/tollbook
WORKDIR /srv/tollbook
COPY pyproject.toml README.md LICENSE ./
COPY sdk/ sdk/
COPY domain/ domain/
COPY application/ application/
COPY projections/ projections/
COPY adapters/ adapters/
COPY streams/ streams/
COPY entrypoints/ entrypoints/
RUN /opt/tollbook/bin/pip install --no-deps --no-build-isolation --editable ./sdk --editable .
ENV PATH=/opt/tollbook/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    TOLLBOOK_DATA=/var/lib/tollbook/ledger
USER tollbook
VOLUME /var/lib/tollbook
EXPOSE 8400
STOPSIGNAL SIGTERM
ENTRYPOINT ["tollbook"]
# Loopback inside a container reaches nobody: the port that the container publishes decides.
CMD ["serve", "--host", "0.0.0.0"]
