# shellcheck shell=bash
# Owns what the tests of the deployments share: folders, images, the three servers' data, and what is asserted.
# Needs: $root, $work, say, die.

jobs=longshore-test/job
passed=0
skips=${LONGSHORE_TEST_SKIPS:-}

ok() {
    passed=$((passed + 1))
    printf 'ok %s\n' "$*"
}

skipped() {
    printf 'SKIPPED deployments: %s\n' "$*"
    if [ -n "$skips" ]; then printf 'SKIPPED deployments: %s\n' "$*" >>"$skips"; fi
}

# expect CODE COMMAND …: its output goes to $work/output, which is shown when the code is another one.
expect() {
    local code=$1 status=0
    shift
    "$@" >"$work/output" 2>&1 </dev/null || status=$?
    if [ "$status" != "$code" ]; then
        tail -n 60 "$work/output" >&2
        die "exit $status instead of $code: $*"
    fi
}

# Nothing is like nothing: two questions that both failed have no answer.
same() {
    [ -n "$1" ] || die "$3: there is no answer to compare with '$2'"
    [ "$1" = "$2" ] || die "$3: '$1' and '$2' are not the same"
}
said() { grep -qF -- "$1" "$work/output" || { cat "$work/output" >&2 && die "nobody said: $1"; }; }
unsaid() { ! grep -qF -- "$1" "$work/output" || die "this was said and must not be: $2"; }

# until_true SECONDS WHAT COMMAND …: waits for a condition, and not for a time.
until_true() {
    local limit=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $limit ] || die "$what did not come true"
        sleep 0.2
    done
}

# The programs that the tests were built with, in an image without anything else: what BINARIES of the Dockerfile takes.
make_job_images() {
    local target=${CARGO_TARGET_DIR:-$root/target}/debug name
    [ -n "${LONGSHORE_BINARIES:-}" ] && target=$LONGSHORE_BINARIES
    mkdir -p "$work/binaries"
    for name in longshore longshore-backup longshore-restore longshore-copy longshore-load; do
        [ -x "$target/$name" ] || die "$target/$name is missing; run: cargo build --workspace --bins"
        strip -o "$work/binaries/$name" "$target/$name" 2>/dev/null || cp "$target/$name" "$work/binaries/$name"
    done
    printf 'FROM scratch\nCOPY . /out/\n' >"$work/binaries.Dockerfile"
    docker build -q --label longshore-test --file "$work/binaries.Dockerfile" --tag "$jobs-binaries" "$work/binaries" >/dev/null
    for name in backup restore copy load longshore; do
        docker build -q --label longshore-test --target "$name" --tag "$jobs-$name" --build-arg RUST=debian:bookworm-slim \
            --build-arg "BINARIES=$jobs-binaries" --build-arg PACKAGES=debian --build-arg VERSION=1.2.3 --build-arg REVISION=abcdef \
            --build-arg BUILD=42 "$root" >"$work/build.log" 2>&1 || { tail -n 30 "$work/build.log" >&2 && die "image $name cannot be built"; }
    done
}

# --- a deployment ------------------------------------------------------------------------------------------------------

# set_in ENVIRONMENT NAME VALUE: in a deployment's .env.
set_in() {
    sed -i "/^#*$2=/d" "$work/deployments/$1/.env"
    printf '%s=%s\n' "$2" "$3" >>"$work/deployments/$1/.env"
}

# settle ENVIRONMENT PORTS: .env from the example, for this machine: its images, and ports that begin at PORTS.
settle() {
    local environment=$1 port=$2 name
    cp "$work/deployments/$environment/.env.example" "$work/deployments/$environment/.env"
    for name in POSTGRES MARIADB MONGO REDIS MINIO MINIO_CONSOLE; do
        set_in "$environment" "${name}_PORT" $((port++))
    done
    set_in "$environment" LONGSHORE_IMAGE "$jobs-longshore"
    set_in "$environment" COMPOSE_PROJECT_NAME "longshore-test-$$-$environment"
    if [ "$images" = local ]; then
        set_in "$environment" POSTGRES_IMAGE longshore-test/postgres:15
        set_in "$environment" MARIADB_IMAGE longshore-test/mariadb:10.11
        set_in "$environment" MONGO_IMAGE longshore-test/mongo:6.0
        set_in "$environment" REDIS_IMAGE longshore-test/redis:7.0
        set_in "$environment" MINIO_IMAGE longshore-test/minio
    else
        # Debian's client, which the image of the jobs has here, is of this major.
        set_in "$environment" POSTGRES_IMAGE postgres:15
    fi
}

script() { "$work/deployments/$1.sh" "${@:2}"; }

# As people do: in the deployment's folder.
compose() { (cd "$work/deployments/$1" && exec docker compose "${@:2}"); }

# MongoDB's first user, and PostgreSQL's and MariaDB's database, which the official images make by themselves.
first_start() {
    local environment=$1
    [ "$images" = local ] || return 0
    compose "$environment" up --detach --wait postgres mariadb mongo >"$work/output" 2>&1 || { cat "$work/output" >&2 && die "servers of $environment do not start"; }
    mongo "$environment" initiate "$environment"
    postgres "$environment" postgres "create database app"
    mariadb "$environment" mysql "create database app"
}

secret_of() { cat "$work/deployments/$1/secrets/$2"; }

postgres() { compose "$1" exec -T --user postgres postgres psql -X -q -A -t -v ON_ERROR_STOP=1 -d "$2" -c "$3"; }
# By the container's own address: the images know root at the loopback's with different passwords.
mariadb() {
    # shellcheck disable=SC2016 # that shell's variables
    compose "$1" exec -T --env MYSQL_PWD="$(secret_of "$1" mariadb-password)" mariadb \
        sh -c 'exec mariadb --protocol=tcp --host="$(hostname -i)" --user=root -N -B "$1" -e "$2"' sh "$2" "$3"
}
mongo() {
    local pid
    pid=$(docker inspect --format '{{.State.Pid}}' "$(compose "$1" ps --quiet mongo)")
    secret_of "$1" mongo-password | nsenter --target "$pid" --net /usr/bin/python3 "$root/tests/deployments/mongo.py" "$2" "${3:-app}"
}

fill() {
    postgres "$1" app "create table visits (id int primary key, patient text not null, at timestamptz not null, note text);
        insert into visits select n, 'p' || n % 700, timestamptz '2024-01-01 00:00Z' + n * interval '1 minute', repeat('größer ', n % 9)
        from generate_series(1, 20000) n; create index on visits (patient)"
    mariadb "$1" app "create table visits (id int primary key, patient varchar(20) not null, note text, key (patient)) default charset utf8mb4;
        insert into visits select seq, concat('p', seq % 700), repeat('größer ', seq % 9) from seq_1_to_20000"
    mongo "$1" fill
}

# One line for each engine: the same only when all of its rows are.
digest() {
    local database=${3:-app}
    case $2 in
    postgres) postgres "$1" "$database" "select count(*), md5(string_agg(v::text, '|' order by id)) from visits v" ;;
    mariadb) mariadb "$1" "$database" "select count(*), sum(crc32(concat_ws('|', id, patient, note))) from visits" ;;
    mongo) mongo "$1" digest "$database" ;;
    esac
}

# All three, or a failure: to be assigned on a line of its own, because `$(…)` within a command drops that.
digests() {
    local engine
    for engine in postgres mariadb mongo; do digest "$1" "$engine" "${2:-app}" || return; done
}

backups() { compose "$1" run --rm --no-deps -T "${2:-longshore}" list --output json --quiet 2>/dev/null | tr ',' '\n' | grep -c '"id":' || true; }

reading_rows() { [ "$(postgres "$1" app "select count(*) from pg_stat_activity where query ilike 'copy%' and pid <> pg_backend_pid()")" -gt 0 ]; }
