# Two stages: the wheel is built, its hot modules compiled, where there is a C compiler, and runs where there is none.
#
#     docker build -t gatehouse .
#     docker run -v ./gatehouse.yaml:/etc/gatehouse/gatehouse.yaml:ro -p 127.0.0.1:6432:6432 gatehouse
#
# In a container the proxy must listen on all addresses: `listen: {host: 0.0.0.0}`, and `http` too if it is scraped.

FROM python:3.12-slim AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY proxy proxy
COPY deploy deploy
RUN python -m venv /opt/gatehouse \
 && GATEHOUSE_COMPILE=require /opt/gatehouse/bin/pip install --no-cache-dir -c deploy/constraints.txt .

FROM python:3.12-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin gatehouse
COPY --from=build /opt/gatehouse /opt/gatehouse
ENV PATH=/opt/gatehouse/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
EXPOSE 6432 9632
# SIGTERM (docker stop) lets running transactions end; give it the time: docker stop -t 60.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9632/healthz', timeout=2)"]
ENTRYPOINT ["gatehouse", "serve", "--config", "/etc/gatehouse/gatehouse.yaml"]
