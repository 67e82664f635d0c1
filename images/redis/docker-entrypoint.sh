#!/bin/sh
set -e
# `run redis --appendonly yes` and `run redis /etc/my.conf` mean arguments of the server.
case "${1-}" in
    -* | *.conf) set -- redis-server "$@" ;;
esac
# Data files are for the server alone.
umask 0077
exec "$@"
