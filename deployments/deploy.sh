#!/usr/bin/env bash
# Brings a deployment up: its servers, its bucket and repository, and the marks that say which environment its databases are.
#
#   deployments/deploy.sh dev|staging|production [--make-secrets] [--unencrypted] [--no-build]
#
# Every step is skipped when its result is there; nothing is ever removed, and no volume is touched. In dev a missing .env is
# copied from the example, missing secrets are made, and the image is built from this code (--no-build: it is there). Elsewhere
# missing secrets are named; --make-secrets makes those of the servers themselves, at the first deployment, and you keep them.
# Whether production's repository is encrypted is decided once and for ever: make an encrypted one on a machine of somebody who
# may read the data (docs/guides/encryption.md), or say --unencrypted and it is made here.
set -euo pipefail
# shellcheck source=deployments/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

begin "$@"
make_secrets=no build=no plain=yes
if [ "$environment" = production ]; then plain=no; fi
if [ "$environment" = dev ]; then make_secrets=yes build=yes; fi
for argument in "${arguments[@]}"; do
    case $argument in
    --make-secrets) make_secrets=yes ;;
    --unencrypted) plain=yes ;;
    --no-build) build=no ;;
    *) usage ;;
    esac
done

# Any user of a container that is given a secret may read it; on this machine the folder keeps everybody else out.
secret() {
    local file=$1 name volume
    name=$(basename "$file")
    if [ -s "$file" ]; then return; fi
    case $make_secrets:$environment:$name in
    no:*) missing+=("$name") && return ;;
    yes:dev:*) ;;
    *:postgres-password | *:mariadb-password | *:mongo-password | *:mongo-key | *:redis-password | *:minio-root-user | *:minio-root-password) ;;
    # Somebody else's: the store's keys, and what databases know already.
    *) missing+=("$name") && return ;;
    esac
    # A server that has data has a password already, and a new one would not open it. Redis is told its password at each start.
    volume=${project}_${name%%-*}
    [[ $name != s3-* ]] || volume=${project}_minio
    if [ "$name" != redis-password ] && docker volume inspect "$volume" >/dev/null 2>&1; then
        die 77 "$file is missing, but volume $volume has data made with it: bring the file back from where you keep it"
    fi
    (umask 077 && mkdir -p "$(dirname "$file")" && od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$file.part")
    chmod 444 "$file.part"
    mv "$file.part" "$file"
    say "made secret $name"
}

if [ "$environment" = dev ] && [ ! -f "$folder/.env" ]; then
    cp "$folder/.env.example" "$folder/.env"
    say "copied .env from the example"
fi
need_settings
choose_sources all
missing=()
while read -r file; do secret "$file"; done <<<"$secret_files"
if [ -d "$folder/secrets" ]; then chmod 700 "$folder/secrets"; fi
[ ${#missing[@]} -eq 0 ] || die 78 "no secret in $folder/secrets for: ${missing[*]}; put each into a file of that name (mode 0444, the folder 0700)"

if [ $build = yes ]; then
    say "building $(setting LONGSHORE_IMAGE) from this code"
    compose build longshore
fi
say "starting servers"
compose up --detach --wait --wait-timeout 300 || die 69 "a server is not healthy; look at its logs: docker compose logs, in $folder"

if compose config --services | grep -qx minio; then
    say "bucket $(setting BUCKET)"
    job bucket >&2 || die $? "the bucket could not be made"
fi
# One that jobs have a writer's key for is not made here, encrypted or not.
if grep -q '/writer-key$' <<<"$secret_files"; then plain=no; fi
status=0
if [ $plain = yes ]; then job init >&2 || status=$?; else job longshore list >&2 || status=$?; fi
case $plain:$status in
*:0) ;;
yes:73) say "the repository is there already" ;;
no:66) die 66 "there is no repository at $(setting REPO) yet: make an encrypted one (docs/guides/encryption.md), or say --unencrypted; it cannot be changed later" ;;
*) die "$status" "no repository; the lines above say why" ;;
esac
for source in "${sources[@]}"; do
    status=0
    job "mark-$source" >&2 || status=$?
    # A database that is not there yet is marked when a restore has made it.
    case $status in
    0) ;;
    66) say "$source: no database to mark yet" ;;
    *) die "$status" "$source could not be marked as $environment" ;;
    esac
done
say "$environment is up"
