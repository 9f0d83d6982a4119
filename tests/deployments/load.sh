# shellcheck shell=bash
# Loads of drops in a deployment that has its own servers: what becomes of a drop, who may be at work, and what is absent after each
# failure. A role of its own writes, and its password and the lease's are all that the job is given.

test_load() {
    local monday locker drops
    settle staging $((31000 + RANDOM % 1000))
    drops=$work/deployments/staging/drops
    set_in staging DROPS ./drops
    set_in staging POSTGRES_LOAD postgres://loader@postgres.staging:5432/app
    set_in staging POSTGRES_LOAD_SECRET postgres-load-password
    make_secrets staging
    compose staging up --detach --wait postgres redis >"$work/output" 2>&1 || { cat "$work/output" >&2 && die "servers of staging do not start"; }
    # The official image has made it by itself.
    [ "$images" != local ] || postgres staging postgres "create database app"
    postgres staging app "$(cat "$root/jobs/loader/sample.sql")"
    postgres staging app "create role loader login password '$(secret_of staging postgres-load-password)'; create schema longshore authorization loader;
        grant usage on schema lab to loader; grant insert on lab.samples to loader"
    mkdir "$drops"
    cp -R "$root/jobs/loader/sample" "$drops/monday"

    expect 78 script load staging monday
    said POSTGRES_LOAD_JOB
    set_in staging POSTGRES_LOAD_JOB samples
    set_in staging POSTGRES_LOAD_TABLE lab.samples
    expect 77 script load staging ../secrets
    expect 66 script load staging tuesday
    rows_are 0 "of drops that are none"
    load_once
    load_alone
    load_interrupted
    load_without_redis
    compose staging --profile '*' down --volumes --timeout 2 >/dev/null 2>&1
}

rows_are() { same "$(postgres staging app "select count(*) from lab.samples")" "$1" "rows $2"; }

# drop NAME ROWS: a drop of so many rows that no other drop has.
drop() {
    mkdir "$drops/$1"
    awk -v name="$1" -v rows="$2" 'BEGIN {
        print "id,donor,taken,kind,volume_ml,note"
        for (n = 1; n <= rows; n++) printf "%s-%d,D-1,2026-11-25T08:00:00Z,serum,1.00,\n", name, n
    }' >"$drops/$1/samples.csv"
    touch "$drops/$1/_SUCCESS"
}

load_once() {
    expect 0 script load staging monday
    monday=$(postgres staging app "select count(*) from lab.samples")
    [ "$monday" -gt 0 ] || die "nothing was loaded"
    expect 0 script load staging "$drops/monday"
    said "already loaded"
    rows_are "$monday" "after the same drop again"
    ok "load: a drop is loaded once, by the lease in the deployment's Redis"
    drop broken 3
    printf 'broken-4,D-1,yesterday,serum,1.00,\n' >>"$drops/broken/samples.csv"
    expect 65 script load staging broken
    said "exit 65"
    rows_are "$monday" "after a broken drop"
    expect 0 script load staging --history -- --output json
    said '"image"'
    same "$(grep -o "\"$jobs-longshore\"" "$work/output" | sort -u)" "\"$jobs-longshore\"" "the image that the ledger knows"
    ok "load: a broken one changes nothing, and the history tells of both"
    same "$(compose staging run --rm --no-deps -T --entrypoint ls load-postgres /run/secrets 2>/dev/null | tr '\n' ' ')" "lease-password load-postgres-password " "secrets of a load"
    expect 1 compose staging run --rm --no-deps -T --entrypoint touch load-postgres /drops/monday/mark
    said "Read-only"
    ok "load: the job has two passwords, and cannot write to drops"
    drop short 3
    printf 'short-4,D-1\n' >>"$drops/short/samples.csv"
    mkdir --mode 777 "$work/rejects"
    expect 64 script load staging short -- --max-rejects 1 --rejects /tmp/short.csv
    said "gone with the container"
    rows_are "$monday" "of a drop whose left out row would be lost"
    expect 0 compose staging run --rm --no-deps -T --volume "$work/rejects:/rejects" load-postgres \
        load --drop /drops/short --max-rejects 1 --rejects /rejects/short.csv
    monday=$((monday + 3))
    rows_are "$monday" "of a drop without one row"
    same "$(tail -n 1 "$work/rejects/short.csv")" "short-4,D-1" "the row that was left out"
    ok "load: a row that is left out is kept where a folder is given for it, and nowhere else"
}

# A table that somebody has locked keeps a load at work for as long as a test wants.
lock_table() {
    postgres staging app "begin; lock table lab.samples in access exclusive mode; select pg_sleep(600)" >/dev/null 2>&1 &
    locker=$!
    until_true 60 "a locked table" locked
}
locks() { postgres staging app "select count(*) from pg_locks where relation = 'lab.samples'::regclass and mode = 'AccessExclusiveLock' and granted"; }
locked() { [ "$(locks)" -gt 0 ]; }
unlock_table() {
    postgres staging app "select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep(600)%' and pid <> pg_backend_pid()" >/dev/null
    wait "$locker" 2>/dev/null || true
}
holds_lease() {
    [ "$(REDISCLI_AUTH=$(secret_of staging redis-password) compose staging exec -T --env REDISCLI_AUTH redis redis-cli exists 'longshore:{samples}:lease')" = 1 ]
}

load_alone() {
    local project other
    project=$(sed -n 's/^COMPOSE_PROJECT_NAME=//p' "$work/deployments/staging/.env")
    drop tuesday 50
    drop wednesday 50
    lock_table
    # One from elsewhere: nothing but the lease knows of it.
    other=$(compose staging run --detach --no-deps --name "$project-elsewhere" load-postgres load --drop /drops/tuesday 2>"$work/output") || die "no other loader: $(cat "$work/output")"
    until_true 60 "the other loader's lease" holds_lease
    expect 75 script load staging wednesday
    said "another loader is at work; nothing was loaded"
    expect 0 script load staging --history
    ok "load: another loader at work, wherever it is, is said plainly, and the history can be asked"
    unlock_table
    same "$(docker wait "$other")" 0 "the other loader's exit code"
    docker rm "$other" >/dev/null
    rows_are $((monday + 50)) "after the other loader"
    expect 0 script load staging wednesday
    rows_are $((monday + 100)) "after both"
    ok "load: when it has ended, the next one loads"

    docker run --detach --rm --label "longshore-test=$$" --name "$project-restore-postgres" --entrypoint sleep "$jobs-longshore" 600 >/dev/null
    drop thursday 50
    expect 75 script load staging thursday
    said "(container $project-restore-postgres)"
    docker kill "$project-restore-postgres" >/dev/null
    until_true 30 "the restore's end" sh -c "! docker inspect $project-restore-postgres"
    rows_are $((monday + 100)) "while a restore was at work"
    ok "load: nothing is loaded into a database that a restore is about to replace"
}

# G12: whoever stops the script has stopped the job.
load_interrupted() {
    local status=0 client
    lock_table
    "$work/deployments/load.sh" staging thursday >"$work/output" 2>&1 </dev/null &
    client=$!
    until_true 60 "a load that holds the lease" holds_lease
    kill -TERM "$client"
    wait "$client" || status=$?
    [ "$status" = 74 ] || { cat "$work/output" >&2 && die "exit $status instead of 74 after SIGTERM"; }
    unlock_table
    ! holds_lease || die "the lease is held after SIGTERM"
    rows_are $((monday + 100)) "after SIGTERM"
    ok "load: a signal ends script and job, and nothing is loaded"
}

load_without_redis() {
    # A volume of a time without a log has a snapshot alone.
    REDISCLI_AUTH=$(secret_of staging redis-password) compose staging exec -T --env REDISCLI_AUTH redis sh -c 'redis-cli set kept yes && redis-cli save' >/dev/null
    compose staging exec -T redis rm -r appendonlydir
    compose staging kill --signal KILL redis >/dev/null 2>&1
    compose staging up --detach --wait redis >/dev/null 2>&1
    same "$(REDISCLI_AUTH=$(secret_of staging redis-password) compose staging exec -T --env REDISCLI_AUTH redis redis-cli get kept)" yes "what a snapshot without a log held"
    ok "load: a Redis with a snapshot and no log keeps what it has"
    compose staging stop --timeout 5 redis >/dev/null 2>&1
    expect 69 script load staging thursday
    rows_are $((monday + 100)) "without the lease's server"
    set_in staging LEASE postgresql://loader@postgres.staging:5432/app
    set_in staging LEASE_SECRET postgres-load-password
    expect 0 script load staging thursday
    rows_are $((monday + 150)) "with the lease in the target"
    unsaid "$(secret_of staging postgres-load-password)" "a password"
    ok "load: without the lease's server nothing runs, and the lease may be in the target"
}
