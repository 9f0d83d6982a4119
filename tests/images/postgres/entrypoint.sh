#!/bin/sh
# Starts PostgreSQL on a data directory that it makes at the first start: superuser `postgres` with the password of
# POSTGRES_PASSWORD (SCRAM over TCP, trusted over the local socket). Further arguments go to the server, so that
# `-c name=value` sets anything. Any other command is run as it is: jobs are tested inside this image too.
set -eu

case "${1:-}" in
-*) set -- postgres "$@" ;;
postgres) ;;
*) exec "$@" ;;
esac

if [ "$(id -u)" = 0 ]; then
    install -d -o postgres -g postgres -m 700 "$PGDATA"
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    password=$(mktemp)
    printf '%s\n' "${POSTGRES_PASSWORD:?set POSTGRES_PASSWORD}" >"$password"
    # shellcheck disable=SC2086 # several options in one variable, as the official image takes them
    initdb --pgdata="$PGDATA" --username=postgres --pwfile="$password" --encoding=UTF8 --locale=C.UTF-8 --no-sync \
        --auth-local=trust --auth-host=scram-sha-256 ${POSTGRES_INITDB_ARGS:-}
    rm -f "$password"
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    echo 'host replication all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
fi
unset POSTGRES_PASSWORD

shift
exec postgres -c listen_addresses='*' "$@"
