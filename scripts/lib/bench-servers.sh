# shellcheck shell=bash
# Owns the throwaway servers of scripts/bench: a PostgreSQL of its own, and a MinIO when there is a binary.
# Both listen on 127.0.0.1 only, with passwords made for this run. Needs: $work, say, die.

postgres_settings="shared_buffers=512MB max_wal_size=8GB fsync=on autovacuum=off maintenance_work_mem=64MB"
postgres_bin=
minio_pid=

# A port that nobody listens on right now.
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

random_word() { od -An -N16 -tx1 /dev/urandom | tr -d ' \n'; }

find_postgres() {
    local candidate
    for candidate in "${BENCH_POSTGRES_BIN:-}" /usr/lib/postgresql/*/bin "$(dirname "$(command -v initdb || echo /)")"; do
        if [ -n "$candidate" ] && [ -x "$candidate/initdb" ]; then postgres_bin=$candidate; fi
    done
    [ -n "${BENCH_POSTGRES_BIN:-}" ] && postgres_bin=$BENCH_POSTGRES_BIN
    [ -n "$postgres_bin" ] || die "no PostgreSQL server found; apt-get install postgresql, or name its folder in BENCH_POSTGRES_BIN"
    export PATH=$postgres_bin:$PATH
}

# PostgreSQL refuses to run as root.
as_postgres() {
    if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi
}

start_postgres() {
    local data=$work/postgres options="" setting
    PGPORT=$(free_port)
    export PGPASSWORD PGPORT PGHOST=127.0.0.1 PGUSER=bench PGSSLMODE=disable
    if [ ! -f "$data/PG_VERSION" ]; then
        rm -rf "$data" "$work/password"
        mkdir -p "$data"
        install -m 600 /dev/null "$work/password"
        random_word >"$work/password"
        [ "$(id -u)" != 0 ] || chown postgres "$data" "$work/password"
        as_postgres "$postgres_bin/initdb" -D "$data" -U "$PGUSER" --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 \
            --pwfile="$work/password" >"$work/run/initdb.log" || die "initdb failed, see $work/run/initdb.log"
    fi
    PGPASSWORD=$(cat "$work/password")
    for setting in $postgres_settings; do options+=" -c $setting"; done
    as_postgres "$postgres_bin/pg_ctl" -D "$data" -w -t 120 -l "$data/server.log" \
        -o "-p $PGPORT -c listen_addresses=127.0.0.1 -c unix_socket_directories='' $options" start >/dev/null ||
        die "the server does not start, see $data/server.log"
}

stop_postgres() {
    if [ -f "$work/postgres/postmaster.pid" ]; then
        as_postgres "$postgres_bin/pg_ctl" -D "$work/postgres" -w -m fast stop >/dev/null || true
    fi
}

# MinIO is optional: without it nothing is said about S3. A directory of its only drive is a bucket.
start_minio() {
    local minio
    minio=${BENCH_MINIO:-$(command -v minio || true)}
    [ -n "$minio" ] || return 0
    mkdir -p "$work/run/minio/bench"
    export BENCH_S3_PORT BENCH_S3_SECRET BENCH_S3_BINARY=$minio
    BENCH_S3_PORT=$(free_port)
    BENCH_S3_SECRET=$(random_word)
    MINIO_ROOT_USER=bench MINIO_ROOT_PASSWORD=$BENCH_S3_SECRET MINIO_BROWSER=off MINIO_UPDATE=off \
        "$minio" server "$work/run/minio" --address "127.0.0.1:$BENCH_S3_PORT" >"$work/run/minio.log" 2>&1 &
    minio_pid=$!
}

stop_minio() {
    if [ -n "$minio_pid" ]; then
        kill "$minio_pid" 2>/dev/null || true
        wait "$minio_pid" 2>/dev/null || true
    fi
}
