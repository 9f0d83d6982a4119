# shellcheck shell=bash
# Owns the demos' playground: one temporary folder, and in it (or in containers) one PostgreSQL of its own, and a Redis where that is
# asked for. Promises that nothing outside of the folder is touched, apart from packages that are missing on a Debian machine.
# Needs: say, die, $longshore. Sets: playground, port, redis_port.

playground='' port='' redis_port='' bin='' container='' redis_container='' redis='' as=()

make_playground() {
    playground=$(mktemp -d "${TMPDIR:-/tmp}/longshore-demo.XXXXXX")
    # Open for the server's user, who may be another one; what is secret in it is not.
    chmod 711 "$playground"
    (umask 077 && od -An -N16 -tx1 /dev/urandom | tr -d ' \n' >"$playground/password")
    mkdir "$playground/repository"
}

# Starts a server: an installed one, else one from Debian's packages, else a container.
start_postgres() {
    bin=$(find_server)
    if [ -z "$bin" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        install_package postgresql PostgreSQL
        bin=$(find_server)
    fi
    if [ -n "$bin" ]; then start_here; else start_container; fi
}

# The folder of the newest installed initdb; nothing when there is none.
find_server() {
    local found
    # shellcheck disable=SC2012 # these names hold nothing that ls would garble, and an absent folder is no error
    found=$(ls -d /usr/lib/postgresql/*/bin/initdb /usr/pgsql-*/bin/initdb /opt/homebrew/opt/postgresql@*/bin/initdb \
        /usr/local/opt/postgresql@*/bin/initdb 2>/dev/null | sort -V | tail -n 1) || true
    [ -n "$found" ] || found=$(command -v initdb || true)
    if [ -n "$found" ]; then dirname "$found"; fi
}

# install_package PACKAGE NAME: from the distribution's packages, and keeps the service that comes with it from starting.
install_package() {
    local policy=/usr/sbin/policy-rc.d log=$playground/apt.log ours=no status=0
    say "$2 is not installed; installing it from the distribution's packages ..."
    if [ ! -e "$policy" ]; then
        ours=yes
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
    fi
    { apt-get -o DPkg::Lock::Timeout=300 update && DEBIAN_FRONTEND=noninteractive apt-get \
        -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$1"; } >"$log" 2>&1 </dev/null || status=$?
    if [ "$ours" = yes ]; then rm -f "$policy"; fi
    if [ "$status" -ne 0 ]; then
        tail -n 20 "$log" >&2
        die "apt-get could not install $1"
    fi
}

# A cluster in the playground. PostgreSQL refuses to run as root, so root lends it an unprivileged user.
start_here() {
    local data=$playground/server/data try
    mkdir "$playground/server"
    if [ "$(id -u)" = 0 ]; then
        local user=nobody
        if id postgres >/dev/null 2>&1; then user=postgres; fi
        as=(runuser -u "$user" --)
        chown -R "$user" "$playground/server"
        install -m 600 -o "$user" "$playground/password" "$playground/server/password"
    else
        install -m 600 "$playground/password" "$playground/server/password"
    fi
    server initdb --pgdata="$data" --username=postgres --pwfile="$playground/server/password" --auth=scram-sha-256 \
        --encoding=UTF8 --locale=C --no-sync >"$playground/initdb.log" 2>&1 || {
        cat "$playground/initdb.log" >&2
        die "initdb failed"
    }
    # Data that lives for a minute needs no fsync. Everything else is as a small server has it.
    for try in 1 2 3 4 5; do
        port=$((20000 + RANDOM % 12000))
        if server pg_ctl --pgdata="$data" --log="$playground/server/log" --wait --timeout=60 --silent \
            --options="-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off \
-c shared_buffers=256MB -c max_wal_size=4GB -c log_checkpoints=off" start >/dev/null 2>&1 </dev/null; then
            return 0
        fi
        # The usual reason is a port that somebody has; a number drawn anew finds a free one.
        [ "$try" -lt 5 ] || die "PostgreSQL does not start"
    done
}

# Runs one of the server's programs as its user (spelt for the bash of macOS, to which an empty array is unset). That
# user may not be allowed into our working folder; descriptor 3 is the demo's own, and a server would keep it open.
server() { (cd "$playground" && ${as[@]+"${as[@]}"} "$bin/$1" "${@:2}" 3>&-); }

start_container() {
    if ! docker info >/dev/null 2>&1; then
        die "no PostgreSQL to play with: install one (Debian: apt-get install postgresql; macOS: brew install postgresql@17)," \
            "or start Docker, then run this again"
    fi
    local said major
    said=$(pg_dump --version 2>/dev/null) ||
        die "pg_dump is not installed, which Longshore needs beside itself" \
            "(Debian: apt-get install postgresql-client; macOS: brew install libpq, and its bin folder on PATH)"
    # The image of the same version, because a pg_dump reads no server newer than itself.
    major=$(sed -E 's/^[^0-9]*([0-9]+).*/\1/' <<<"$said")
    say "Starting postgres:$major in Docker ..."
    container=$(POSTGRES_PASSWORD=$(cat "$playground/password") docker run --detach --label longshore-demo --publish 127.0.0.1::5432 --shm-size 256m \
        --env POSTGRES_PASSWORD "postgres:$major" \
        -c fsync=off -c max_wal_size=4GB) || die "the image postgres:$major could not be had"
    port=$(docker port "$container" 5432/tcp | head -n 1 | sed 's/.*://')
    local tries
    for tries in $(seq 120); do
        # Over TCP: while the image prepares itself it listens on its Unix socket only.
        if docker exec "$container" pg_isready --quiet --host=127.0.0.1; then return 0; fi
        sleep 0.5
    done
    die "the container's server did not come up within $((tries / 2)) s"
}

# Starts a Redis for leases: an installed one, else one from Debian's packages, else a container. It keeps an append-only file: one
# that forgets at a restart would forget leases.
start_redis() {
    local program try
    program=$(command -v redis-server || command -v valkey-server || true)
    if [ -z "$program" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        install_package redis-server Redis
        program=$(command -v redis-server)
    fi
    if [ -z "$program" ]; then
        docker info >/dev/null 2>&1 ||
            die "no Redis to keep leases in: install one (redis-server or valkey), or start Docker, then run this again"
        redis_container=$(docker run --detach --label longshore-demo --publish 127.0.0.1::6379 redis:7 redis-server --appendonly yes) ||
            die "the image redis:7 could not be had"
        redis_port=$(docker port "$redis_container" 6379/tcp | head -n 1 | sed 's/.*://')
        return 0
    fi
    for try in 1 2 3 4 5; do
        redis_port=$((20000 + RANDOM % 12000))
        : >"$playground/redis.log"
        "$program" --port "$redis_port" --bind 127.0.0.1 --save '' --appendonly yes --dir "$playground" \
            >"$playground/redis.log" 2>&1 3>&- &
        redis=$!
        # It says so once it listens, and ends at once when somebody has the port.
        while kill -0 "$redis" 2>/dev/null; do
            if grep -qi 'ready to accept connections' "$playground/redis.log"; then return 0; fi
            sleep 0.05
        done
        [ "$try" -lt 5 ] || die "Redis does not start: $(tail -n 3 "$playground/redis.log")"
    done
}

# psql on a database, with all of the caller's psql configuration left out.
sql() {
    local database=$1
    shift
    if [ -n "$container" ]; then
        docker exec --interactive --user postgres "$container" psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --dbname "$database" "$@"
    else
        PGPASSWORD=$(cat "$playground/password") "$bin/psql" --no-psqlrc --quiet --set ON_ERROR_STOP=1 \
            --host 127.0.0.1 --port "$port" --username postgres --dbname "$database" "$@"
    fi
}

# One question, one answer.
ask() { sql "$1" --tuples-only --no-align --command "$2" </dev/null; }

server_version() { ask postgres 'show server_version' | sed 's/ .*//'; }

# Makes a database and fills it from a script that takes its size in MB as `scale`.
fill() {
    ask postgres "create database $1"
    sql "$1" --set scale="$3" --output /dev/null --file - <"$2"
    ask "$1" 'vacuum analyze'
}

# The server's last words, when something failed.
server_log() {
    if [ -n "$playground" ] && [ -s "$playground/server/log" ]; then
        printf 'the last lines of the server:\n'
        tail -n 10 "$playground/server/log" | sed 's/^/  /'
    fi
}

# For --keep: what to source, and how to end it.
write_handles() {
    local tools=$bin program=${longshore:?}
    cat >"$playground/env" <<EOF
export LONGSHORE_REPO='$LONGSHORE_REPO' LONGSHORE_SOURCE='$LONGSHORE_SOURCE' LONGSHORE_TARGET='$LONGSHORE_TARGET'
export LONGSHORE_SOURCE_PASSWORD_FILE='$playground/password' LONGSHORE_TARGET_PASSWORD_FILE='$playground/password'
export PGHOST=127.0.0.1 PGPORT=$port PGUSER=postgres
PGPASSWORD=\$(cat '$playground/password') && export PGPASSWORD
export PATH='$(dirname "$program")${tools:+:$tools}':"\$PATH"
EOF
    {
        printf '#!/bin/sh\n# Stops the demo'\''s server and removes the playground.\n'
        if [ -n "$container" ]; then
            printf 'docker rm --force --volumes %s >/dev/null\n' "$container"
        else
            printf "cd / && %s '%s' --pgdata='%s' --mode=fast --silent stop\n" \
                "${as[*]:-}" "$bin/pg_ctl" "$playground/server/data"
        fi
        printf "rm -rf '%s'\n" "$playground"
    } >"$playground/end"
    chmod +x "$playground/end"
}

# Stops the server and removes the folder. Does what it can when half of it is not there; a server whose start was cut
# off before it wrote its postmaster.pid ends by itself when it misses that file.
remove_playground() {
    local one
    for one in $container $redis_container; do docker rm --force --volumes "$one" >/dev/null 2>&1 || true; done
    # A run that was stopped to show what comes of it ends with everything else.
    if [ -n "${first:-}" ]; then kill -KILL "$first" 2>/dev/null || true; fi
    if [ -n "$redis" ]; then kill "$redis" 2>/dev/null || true; fi
    [ -n "$playground" ] || return 0
    if [ -s "$playground/server/data/postmaster.pid" ]; then
        server pg_ctl --pgdata="$playground/server/data" --mode=immediate --silent stop >/dev/null 2>&1 </dev/null || true
    fi
    rm -rf "$playground"
}
