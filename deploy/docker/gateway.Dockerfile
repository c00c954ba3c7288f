# The gateway in a virtual environment, and nothing that could build or install anything.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY deploy/lock deploy/lock
RUN python -m venv --without-pip /opt/dialout \
 && pip --python /opt/dialout install --require-hashes --requirement deploy/lock/runtime.txt
RUN python -m venv tools && tools/bin/pip install --require-hashes --requirement deploy/lock/build.txt
COPY pyproject.toml README.md ./
COPY asterisk-conf asterisk-conf
COPY sql sql
COPY gateway gateway
RUN tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
 && pip --python /opt/dialout install --no-deps --no-index dist/*.whl

FROM ${PYTHON_IMAGE}
COPY --from=build /opt/dialout /opt/dialout
ENV PATH=/opt/dialout/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A number, because an orchestrator cannot see that a name is not root.
USER 10001:10001
ENTRYPOINT ["dialout"]
CMD ["serve"]
