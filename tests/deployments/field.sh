# shellcheck shell=bash
# Production and staging from nothing, as the field has them: a bucket each, staging filled from production's by the script that
# the workflow calls. Then a server dies in the middle of a backup, and one in the middle of a restore: what must be absent?

test_field() {
    local port=$((26000 + RANDOM % 5000)) before after store name
    settle production "$port"
    settle staging $((port + 10))
    store=http://host.docker.internal:$((port + 4))
    set_in production COMPOSE_PROFILES minio
    # Staging comes to it by the machine's own address, as it would from another one.
    set_in production MINIO_BIND 0.0.0.0
    set_in production REPO "s3://production/longshore?endpoint=http://minio:9000"
    set_in staging PRODUCTION_REPO "s3://production/longshore?endpoint=$store"
    set_in staging REPO "s3://dev/longshore?endpoint=$store"

    expect 78 script deploy production
    said s3-backup-access-key
    [ ! -e "$work/deployments/production/secrets/postgres-password" ] || die "a secret was made without being asked for"
    ok "field: production names the secrets that are missing, and makes none"
    make_secrets production
    # Keys of the store's administrator; what other ones may do is tried by the tests of the policies.
    for name in backup maintenance; do same_keys production "$name" production; done
    make_secrets staging
    for name in backup maintenance production; do same_keys staging "$name" production; done

    first_start production
    first_start staging
    expect 66 script deploy production
    said "--unencrypted"
    expect 0 script deploy production --unencrypted
    make_bucket dev
    expect 0 script deploy staging
    ok "field: production with an object store, and staging beside it"
    # Backups read as a user of their own, who owns nothing; marks are the owner's all the same.
    set_in production POSTGRES_SOURCE postgres://reader@postgres.production:5432/app
    set_in production POSTGRES_SOURCE_SECRET postgres-backup-password
    expect 78 script deploy production --unencrypted --make-secrets
    said postgres-backup-password
    printf 'reads-only' >"$work/deployments/production/secrets/postgres-backup-password"
    chmod 444 "$work/deployments/production/secrets/postgres-backup-password"
    postgres production app "create role reader login password 'reads-only' in role pg_read_all_data"
    expect 0 script deploy production --unencrypted
    said "production is up"
    ok "field: production is marked by its owner, whoever backups read as"
    fill production
    before=$(digests production)
    expect 0 script backup production
    ok "field: production is backed up"

    expect 77 script restore_from_s3 staging all --target production/all
    expect 0 script restore_from_s3 staging all --target staging/all -- --prove content
    after=$(digests staging)
    same "$after" "$before" "staging and production"
    ok "field: staging has production's rows"
    expect 0 script backup staging postgres mariadb
    expect 0 script maintain staging verify
    expect 76 script maintain staging check
    said "longshore backup --name staging-mongo"
    unsaid "longshore backup --name staging-postgres" "that a source with a backup has none"
    ok "field: check misses a source that never had a backup"
    expect 0 script backup staging mongo
    expect 0 script maintain staging verify
    expect 0 script maintain staging check
    same "$(backups staging)" 3 "staging's own backups"
    same "$(backups production)" 3 "production's backups"
    ok "field: staging's own backups go into its own bucket"
    expect 0 script maintain staging drill
    expect 0 script maintain production verify
    expect 0 script maintain production check
    ok "field: production's backups are drilled on staging, and production knows"

    postgres production app "update visits set note = 'newer'"
    printf "update visits set patient = 'nobody';\n" >"$work/deployments/staging/before-swap/postgres/disarm.sql"
    expect 0 script backup production postgres
    expect 0 script restore_from_s3 staging postgres --target staging/postgres
    same "$(postgres staging app "select distinct patient || ' ' || note from visits")" "nobody newer" "what staging has"
    ok "field: staging follows, and before-swap files run"

    kill_in_backup
    kill_in_restore
    encrypted $((port + 4))
    for name in staging production; do compose "$name" --profile '*' down --volumes --timeout 2 >/dev/null 2>&1; done
}

# G2: a server that dies in the middle of its backup. There is no new backup, and what there was is whole.
kill_in_backup() {
    local count status=0 client tags
    count=$(backups production)
    postgres production app "insert into visits select n, 'slow', now(), md5(n::text) from generate_series(100000, 300000) n"
    script backup production postgres -- --max-rate 500KiB >"$work/killed" 2>&1 </dev/null &
    client=$!
    until_true 60 "a backup that reads rows" reading_rows production
    compose production kill --signal KILL postgres >/dev/null 2>&1
    wait "$client" || status=$?
    [ "$status" = 69 ] || { cat "$work/killed" >&2 && die "exit $status instead of 69 when the server died"; }
    same "$(backups production)" "$count" "backups after the server died"
    compose production up --detach --wait >/dev/null 2>&1
    expect 0 script maintain production verify
    expect 0 script backup production postgres -- --tag weekly
    same "$(backups production)" $((count + 1)) "backups after the next run"
    tags=$(compose production run --rm --no-deps -T longshore show postgres --output json --quiet 2>/dev/null | tr -d ' \n\r' | grep -o '"tags":\[[^]]*\]' | head -n 1 || true)
    same "$tags" '"tags":["production","weekly"]' "tags of a backup with a tag of its own"
    ok "field: a server killed in the middle of its backup leaves none, and the next run is a backup"
}

# G5: a server that dies in the middle of a restore. The live database is as it was, whoever starts the server again.
kill_in_restore() {
    local status=0 client old
    old=$(digest staging postgres)
    printf "select pg_sleep(600);\n" >"$work/deployments/staging/before-swap/postgres/zz-wait.sql"
    script restore_from_s3 staging postgres --target staging/postgres >"$work/killed" 2>&1 </dev/null &
    client=$!
    until_true 120 "a restore that is loaded and not swapped" sleeping
    same "$(digest staging postgres)" "$old" "staging while a restore is at work"
    compose staging kill --signal KILL postgres >/dev/null 2>&1
    wait "$client" || status=$?
    [ "$status" = 69 ] || { cat "$work/killed" >&2 && die "exit $status instead of 69 when the server died"; }
    compose staging up --detach --wait >/dev/null 2>&1
    same "$(digest staging postgres)" "$old" "staging after its server died in a restore"
    rm "$work/deployments/staging/before-swap/postgres/zz-wait.sql"
    expect 0 script restore_from_s3 staging postgres --target staging/postgres
    same "$(postgres staging app "select count(*) from visits")" "$(postgres production app "select count(*) from visits")" "rows"
    same "$(postgres staging postgres "select count(*) from pg_database where datname like 'app\_\_new%'")" 0 "copies that nobody needs"
    ok "field: a server killed in the middle of a restore has its old database, and the next run replaces it"
}

sleeping() { [ "$(postgres staging postgres "select count(*) from pg_stat_activity where query like 'select pg_sleep%'")" -gt 0 ]; }

# same_keys ENVIRONMENT NAME OWNER: the keys of that name are those of the store's administrator in OWNER.
same_keys() {
    local folder=$work/deployments
    cp -f "$folder/$3/secrets/minio-root-user" "$folder/$1/secrets/s3-$2-access-key"
    cp -f "$folder/$3/secrets/minio-root-password" "$folder/$1/secrets/s3-$2-secret-key"
}

# In the field development makes its own bucket, on a store of its own.
make_bucket() {
    BUCKET=$1 compose production run --rm --no-deps -T bucket >"$work/output" 2>&1 || { cat "$work/output" >&2 && die "no bucket $1"; }
}

# An encrypted repository, made elsewhere: production writes with a key that reads nothing, staging reads with an identity.
encrypted() {
    local repository="s3://production/sealed?endpoint=http://127.0.0.1:$1" keys=$work/keys recipient binary=$work/binaries/longshore
    local folder=$work/deployments
    mkdir "$keys"
    expect 0 "$binary" keys new-identity --out "$keys/identity"
    recipient=$(grep -o 'age1[0-9a-z]*' "$work/output" | head -n 1)
    expect 0 env LONGSHORE_S3_ACCESS_KEY_FILE="$folder/production/secrets/minio-root-user" \
        LONGSHORE_S3_SECRET_KEY_FILE="$folder/production/secrets/minio-root-password" \
        "$binary" init --repo "$repository" --recipient "$recipient" --writer-key-out "$keys/writer-key"
    install -m 444 "$keys/writer-key" "$folder/production/secrets/writer-key"
    install -m 444 "$keys/identity" "$folder/staging/secrets/identity"
    set_in production REPO "s3://production/sealed?endpoint=http://minio:9000"
    set_in staging PRODUCTION_REPO "s3://production/sealed?endpoint=http://host.docker.internal:$1"
    expect 78 script backup production postgres
    with_file production encrypted.yaml expect 0 script deploy production
    with_file production encrypted.yaml expect 0 script backup production postgres
    postgres production app "update visits set note = 'sealed'"
    with_file production encrypted.yaml expect 0 script backup production postgres
    expect 78 script restore_from_s3 staging postgres --target staging/postgres
    same "$(postgres staging app "select count(*) from visits where note = 'sealed'")" 0 "rows that nobody could read"
    with_file staging encrypted.yaml expect 0 script restore_from_s3 staging postgres --target staging/postgres
    same "$(postgres staging app "select distinct note from visits")" sealed "what staging could read"
    ok "field: an encrypted repository, which production cannot read and staging can"
}

# with_file ENVIRONMENT FILE COMMAND …: what COMPOSE_FILE in .env would add.
with_file() { COMPOSE_FILE=${COMPOSE_FILE:-compose.yaml}:$work/deployments/$1/$2 "${@:3}"; }
