# Builds from the hashed lock; runs as nobody, with nothing but the interpreter and the wheel's packages.
FROM python:3.13-slim AS build
# For the compiled room; what runs has no compiler.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY requirements.lock pyproject.toml README.md LICENSE ./
RUN python -m venv /opt/portreeve \
 && /opt/portreeve/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY gateway gateway
COPY auth auth
COPY keys keys
COPY policies policies
COPY storage storage
COPY compiled compiled
RUN /opt/portreeve/bin/pip install --no-cache-dir --no-deps --no-build-isolation --no-index . \
 && cd / && /opt/portreeve/bin/python -c 'import compiled; raise SystemExit(compiled.WHY_NOT or 0)'

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/portreeve --create-home portreeve
COPY --from=build /opt/portreeve /opt/portreeve
ENV PATH=/opt/portreeve/bin:$PATH PYTHONUNBUFFERED=1 PORTREEVE_CONFIG=/etc/portreeve/portreeve.toml
USER portreeve
WORKDIR /var/lib/portreeve
EXPOSE 8080
# Give the control surface a port of its own ([control] in portreeve.toml): partners must not reach it.
ENTRYPOINT ["portreeve"]
CMD ["serve"]
