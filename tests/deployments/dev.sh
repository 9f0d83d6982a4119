# shellcheck shell=bash
# Development from nothing: servers, backups of all three engines into MinIO, everything dropped, everything back.

test_dev() {
    local before after project
    settle dev $((21000 + RANDOM % 5000))
    make_secrets dev
    first_start dev
    expect 0 script deploy dev --no-build
    ok "dev: deploy.sh brings up five servers, a bucket and a repository"
    expect 0 script deploy dev --no-build
    ok "dev: deploy.sh changes nothing the second time"
    fill dev
    before=$(digests dev)
    expect 0 script backup dev
    same "$(backups dev)" 3 "backups in the repository"
    ok "dev: backup.sh backs up all three engines"
    expect 0 script backup dev postgres -- --tag weekly
    same "$(backups dev)" 4 "backups in the repository"
    ok "dev: one source, and options of one's own"

    expect 64 script backup dev oracle
    same "$(backups dev)" 4 "backups in the repository"
    ok "dev: an unknown source is refused, and nothing is made"

    project=$(sed -n 's/^COMPOSE_PROJECT_NAME=//p' "$work/deployments/dev/.env")
    docker run --detach --rm --label "longshore-test=$$" --name "$project-backup-postgres" --entrypoint sleep "$jobs-longshore" 600 >/dev/null
    expect 75 script backup dev postgres
    docker kill "$project-backup-postgres" >/dev/null
    until_true 30 "the other run's end" sh -c "! docker inspect $project-backup-postgres"
    same "$(backups dev)" 4 "backups in the repository"
    ok "dev: of two backups of one source the second is refused with 75"

    stop_backup
    postgres dev app "update visits set note = 'changed'"
    expect 77 script restore_from_s3 dev postgres
    expect 77 script restore_from_s3 dev postgres --target dev/mongo
    expect 0 script restore_from_s3 dev all --dry-run
    said "disarmed by  nothing: there is no before-swap/mongo/*.json"
    said "disarmed by  nothing: there is no before-swap/postgres/*.sql"
    same "$(postgres dev app "select count(*) from visits where note = 'changed'")" 20000 "rows that nobody was to touch"
    ok "dev: nothing is restored before the target is typed; a dry run changes nothing"

    # A database that is gone comes back under another name: nothing goes over what it was made of.
    expect 77 script restore_from_s3 dev postgres --target dev/postgres
    same "$(postgres dev app "select count(*) from visits where note = 'changed'")" 20000 "rows of the backup's own source"
    ok "dev: a backup does not go over its own source"
    # What the caller's shell has exported names no target: it was neither shown nor typed.
    RESTORE_INTO=stray POSTGRES_DB=stray expect 77 script restore_from_s3 dev postgres --target dev/postgres
    same "$(postgres dev postgres "select count(*) from pg_database where datname = 'stray'")" 0 "databases that nobody asked for"
    ok "dev: a variable of the caller's shell is no target"
    postgres dev postgres "drop database app"
    mariadb dev mysql "drop database app"
    mongo dev drop
    expect 0 script restore_from_s3 dev all --into again --target dev/all/again -- --prove content
    after=$(digests dev again)
    same "$after" "$before" "rows of all three engines"
    ok "dev: restore_from_s3.sh brings all three back, row by row"
    expect 0 script restore_from_s3 dev all --into again --target dev/all/again
    after=$(digests dev again)
    same "$after" "$before" "rows of all three engines"
    ok "dev: and once more over what it has made"

    expect 0 script maintain dev verify
    expect 0 script maintain dev prune -- --dry-run
    expect 0 script maintain dev drill
    expect 0 script maintain dev check
    ok "dev: verify, prune, drill and check"
    test_import
    compose dev --profile '*' down --volumes --timeout 2 >/dev/null 2>&1
}

# deploy.sh makes them; here they are wanted before, because the test servers' first users are made before it runs.
make_secrets() {
    local name
    mkdir -p "$work/deployments/$1/secrets"
    while read -r name; do
        if [ ! -e "$work/deployments/$1/secrets/$name" ]; then
            od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$work/deployments/$1/secrets/$name"
        fi
    done < <(compose "$1" --profile '*' config | sed -n '/^secrets:/,$s/^ *file: .*\///p' | sort -u)
    chmod 444 "$work/deployments/$1/secrets"/*
}

# G12: whoever stops the script, as systemd does, has stopped the job.
stop_backup() {
    local status=0 client
    "$work/deployments/backup.sh" dev postgres -- --max-rate 100KiB >"$work/output" 2>&1 </dev/null &
    client=$!
    until_true 60 "a backup that reads rows" reading_rows dev
    kill -TERM "$client"
    wait "$client" || status=$?
    [ "$status" = 74 ] || { cat "$work/output" >&2 && die "exit $status instead of 74 after SIGTERM"; }
    ! docker inspect "$project-backup-postgres" >/dev/null 2>&1 || die "the job goes on after SIGTERM"
    same "$(backups dev)" 4 "backups after SIGTERM"
    same "$(postgres dev app "select count(*) from pg_locks l join pg_class c on c.oid = relation where relname = 'visits' and pid <> pg_backend_pid()")" 0 "locks after SIGTERM"
    ok "dev: a signal ends script and job, and leaves no backup"
}
