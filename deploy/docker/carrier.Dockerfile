# A pretend carrier: SIPp, which answers as the last digits of the dialled number say.
ARG DEBIAN_IMAGE=debian:sid-slim

FROM ${DEBIAN_IMAGE}
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends sip-tester \
 && rm -rf /var/lib/apt/lists/*
COPY gateway/lab/carrier.xml /usr/local/share/carrier.xml
WORKDIR /tmp
USER nobody
# -ci: its remote control would listen everywhere.
ENTRYPOINT ["sipp", "-sf", "/usr/local/share/carrier.xml", "-ci", "127.0.0.1", \
            "-rtp_echo", "-nostdin", "-skip_rlimit"]
