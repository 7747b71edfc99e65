"""The files of systemd, PM2 and Docker as templates; here and not beside, so that every installed wheel has them."""

# ruff: noqa: E501  the filled-in lines are shorter

from __future__ import annotations

SYSTEMD = """\
[Unit]
Description=workerctl: supervised Python workers on a PostgreSQL queue
After=network-online.target
Wants=network-online.target
# Only crashes count here; what the configuration broke is not retried at all, see below.
StartLimitIntervalSec=300
StartLimitBurst=10

[Service]
# READY=1 comes from the supervisor once every worker is ready.
Type=notify
NotifyAccess=main
User=$user
Group=$group
WorkingDirectory=$folder
ExecStart=$command start --foreground
ExecReload=$command reload
# DATABASE_URL, R2_* and keys of providers; mode 0600. Without DATABASE_URL a PostgreSQL is started in the home.
EnvironmentFile=-/etc/workerctl.env
$writable

# The supervisor drains its workers itself: it alone gets SIGTERM, and what is left at the end is killed.
KillMode=mixed
# Above stop_timeout ($stop_timeout) plus the time to stop PostgreSQL: else systemd cuts the drain short.
TimeoutStopSec=$stop_seconds
# Above boot_timeout ($boot_timeout), and above the one-time making of the database.
TimeoutStartSec=$start_seconds

# Its loop is never late by more than a fraction of a second: silent for so long, it hangs.
WatchdogSec=60
Restart=on-failure
RestartSec=2
# 78: the configuration cannot work. 3: another supervisor holds the home. Trying again changes neither.
RestartPreventExitStatus=78 3
# A worker that the kernel killed for its memory is the supervisor's to replace; the rest goes on.
OOMPolicy=continue
LimitNOFILE=16384

# Hardening. The system is read-only and /tmp private; what jobs write goes to the home. For those who must run
# as User=root: the embedded PostgreSQL refuses root and gets a user namespace of its own instead, which needs
# RestrictNamespaces=user and CAP_SETFCAP. An ordinary user holds no capability whatever stands here.
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=strict
ProtectHome=read-only
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=user
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
CapabilityBoundingSet=CAP_SETFCAP
UMask=0077

[Install]
WantedBy=multi-user.target
"""

PM2 = """\
// workerctl under PM2:  pm2 start ecosystem.config.js
// PM2 keeps the supervisor alive; workers, memory limits and reloads without a gap are the supervisor's.
const path = require('path');

module.exports = {
  apps: [
    {
      name: 'workerctl',
      script: $program,
      args: $arguments,
      cwd: $folder,
      interpreter: 'none', // a program, not a JavaScript file
      exec_mode: 'fork',
      instances: 1, // one supervisor; the number of workers is `workerctl scale`
      wait_ready: true, // online once every worker is ready
      listen_timeout: $start_milliseconds, // ms; above boot_timeout ($boot_timeout) and the one-time making of the database
      kill_timeout: $stop_milliseconds, // ms; above stop_timeout ($stop_timeout): else PM2 cuts the drain short
      treekill: false, // else PM2 signals every worker, and the database, at the same moment
      autorestart: true,
      stop_exit_codes: [78, 3], // the configuration cannot work; another supervisor holds the home
      max_restarts: 10,
      exp_backoff_restart_delay: 200, // ms
    },
  ],
};
"""

DOCKER = """\
# workerctl in a container. $build_hint
# The supervisor is PID 1, so that `docker stop` drains the workers.
ARG BASE_IMAGE=python:3.11-slim
FROM $${BASE_IMAGE}

# An ordinary user: the embedded PostgreSQL refuses root.
RUN useradd --create-home --uid 10001 --shell /usr/sbin/nologin workerctl \\
 && install --directory --owner=workerctl --mode=0700 /var/lib/workerctl
WORKDIR /srv/app
COPY . .
RUN pip install --no-cache-dir $requirement

USER workerctl
# The home: logs, sockets, and where there is no DATABASE_URL the database.
VOLUME /var/lib/workerctl
ENV WORKERCTL_HOME=/var/lib/workerctl$config

# Docker kills 10 s after its stop signal unless told otherwise: docker run --stop-timeout $stop_seconds,
# or stop_grace_period: ${stop_seconds}s in compose; above stop_timeout ($stop_timeout).
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=${start_seconds}s CMD ["workerctl", "status", "--json"]
ENTRYPOINT ["workerctl"]
CMD ["start", "--foreground"]
"""
