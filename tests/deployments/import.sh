# shellcheck shell=bash
# `just import-backup` in a development deployment that is up, with a database `again` and none called `app`: what staging has
# written into the store comes here, and keys are on no command line.

import() { IMPORT_BACKUP_OPTIONS="$*" "$work/scripts/import-backup"; }

# What staging would write: its own name, its own repository.
as_staging() {
    expect 0 compose dev run --rm --no-deps -T --env LONGSHORE_REPO="$from" --env LONGSHORE_NAME="$1" \
        --env LONGSHORE_SOURCE=postgres://postgres@postgres.dev:5432/again "${@:3}" backup-postgres backup ${2:+--tag "$2"}
}

app() { postgres dev postgres "select count(*) from pg_database where datname = 'app'"; }

test_import() {
    local from="s3://dev/staging?endpoint=http://minio:9000" live="s3://dev/live/clinic?endpoint=http://minio:9000" access secret before seen=$work/command-lines
    access=$(secret_of dev s3-access-key)
    secret=$(secret_of dev s3-secret-key)
    expect 0 compose dev run --rm --no-deps -T --env LONGSHORE_REPO="$from" init
    # What does not change between two imports: several chunks of its own.
    postgres dev again "create table archive as select n, md5(n::text) || md5((n + 1)::text) as line from generate_series(1, 150000) n"
    as_staging staging-postgres ''
    set_in dev IMPORT_REPO "$from"

    expect 78 import
    said "--access-key"
    expect 77 import --access-key="$access" --secret-key=0123456789wrong
    said "the store refused this key"
    unsaid 0123456789wrong "a key"
    expect 69 import --access-key="$access" --secret-key="$secret" --repo='s3://dev/staging?endpoint=http://minio:1'
    said "VPN"
    expect 66 import --access-key="$access" --secret-key="$secret" --source=nobody
    expect 64 import --acess-key="$access"
    unsaid "$access" "a key"
    same "$(app)" 0 "databases that were made all the same"
    ok "import: what cannot be had is said in words, and nothing is made"

    as_staging live-orders ''
    as_staging shop production
    for source in live-orders shop; do
        expect 77 import --access-key="$access" --secret-key="$secret" --source=$source
        said "--unmasked"
    done
    expect 0 compose dev run --rm --no-deps -T --env LONGSHORE_REPO="$live" init
    from=$live as_staging clinic ''
    expect 77 import --access-key="$access" --secret-key="$secret" --source=clinic --repo="$live"
    said "the repository is called dev/live/clinic"
    same "$(app)" 0 "databases made of production's backups"
    ok "import: production's backups are refused"
    expect 0 import --access-key="$access" --secret-key="$secret" --source=shop --unmasked --into=shop
    same "$(digest dev postgres shop)" "$(digest dev postgres again)" "what was imported"
    ok "import: unless --unmasked is typed"

    # Every command line of this machine, as long as an import is at work.
    : >"$seen"
    (while :; do cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' ' ' >>"$seen" || true; done) &
    local watcher=$!
    expect 0 import --access-key="$access" --secret-key="$secret"
    kill "$watcher"
    wait "$watcher" 2>/dev/null || true
    before=$(digest dev postgres again)
    same "$(digest dev postgres)" "$before" "what was imported"
    grep -q 'LONGSHORE_S3_SECRET_KEY' "$seen" || die "no command line of the import was seen"
    ! grep -qF "$secret" "$seen" || die "the secret key was on a command line"
    ! grep -qF "$access" "$seen" || die "the access key was on a command line"
    unsaid "$secret" "a key"
    ok "import: staging's newest backup becomes the development database, and no command line has a key"

    postgres dev again "insert into visits values (999999, 'new', now(), '')"
    as_staging staging-postgres ''
    expect 0 import --access-key="$access" --secret-key="$secret"
    same "$(digest dev postgres)" "$(digest dev postgres again)" "what was imported the second time"
    grep -Eq '[1-9][0-9]* of [0-9]+ chunks were there' "$work/output" || die "the second import fetched everything again"
    ok "import: the second time fetches what changed, and goes over the first"
    expect 0 compose dev run --rm --no-deps -T --env LONGSHORE_REPO=file:///var/lib/longshore import verify
    ok "import: what is kept here is whole"
}
