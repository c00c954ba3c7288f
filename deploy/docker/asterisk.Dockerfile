# Asterisk 22 with the configuration of asterisk-conf. Debian has it in unstable only.
ARG DEBIAN_IMAGE=debian:sid-slim

FROM ${DEBIAN_IMAGE}
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
      asterisk asterisk-core-sounds-en-gsm gettext-base \
 && rm -rf /var/lib/apt/lists/*
# What goes into these files appears in the log of the container; the call records are a volume.
RUN ln -sf /dev/stdout /var/log/asterisk/messages.log \
 && ln -sf /dev/stdout /var/log/asterisk/security.log \
 && chown -R asterisk:asterisk /var/lib/asterisk /var/log/asterisk
COPY asterisk-conf /usr/local/share/asterisk-conf
COPY --chmod=755 deploy/docker/asterisk-entrypoint /usr/local/bin/
USER asterisk
ENTRYPOINT ["asterisk-entrypoint"]
