# Two stages: what builds stays behind. One image for both planes; `--only gateway` or `--only registry` chooses one.
FROM python:3.12-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY filters filters
COPY gateway gateway
COPY registry registry
RUN python -m venv /opt/izinli && /opt/izinli/bin/pip install --quiet .

FROM python:3.12-slim
LABEL org.opencontainers.image.title="izinli" \
      org.opencontainers.image.description="A commercial-message gateway for senders under Turkey's IYS law" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/izinli /opt/izinli
# A number, not a name: Kubernetes can then prove runAsNonRoot. The root file system may be read-only; only this
# directory is written: ledger, index, journal and keys of the embedded defaults (`data_dir` in the configuration).
# The configuration's directory belongs to the same user so that `izinli init /etc/izinli` can fill a new volume.
RUN install -d -o 65532 -g 65532 -m 0750 /var/lib/izinli /etc/izinli
ENV PATH=/opt/izinli/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
WORKDIR /var/lib/izinli
VOLUME /var/lib/izinli
# SMTP from the mail servers
EXPOSE 2525
# SMPP from the ESMEs
EXPOSE 2775
# the citizens' pages and the registry's API
EXPOSE 8080
# /metrics /livez /readyz, for the private network only
EXPOSE 9090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:9090/livez', timeout=3)"]
CMD ["izinli", "serve", "-c", "/etc/izinli/izinli.toml"]
