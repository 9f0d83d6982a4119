# shellcheck shell=bash disable=SC2034
# Owns what the scripts of this folder have in common: which deployment is meant, its settings, and one job at a time.
# A script says `begin NAME "$@"` first, which leaves the deployment in $environment and the rest in $arguments.
#
# compose is run in the deployment's folder, as people do: COMPOSE_FILE of .env, or of the environment, names further files, for
# what one machine has otherwise than others. It also takes any variable of the caller's shell before the one of .env: what says
# which database, bucket or repository is meant is taken from .env alone.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

say() { printf '%s: %s\n' "$script" "$*" >&2; }

# die CODE WORDS: the codes are those of docs/exit-codes.md.
die() {
    local code=$1
    shift
    say "error: $*"
    exit "$code"
}

# What a script's head says about itself.
usage() {
    awk 'NR > 1 && !/^#/ { exit } NR > 1 { sub(/^# ?/, ""); print }' "$0" >&2
    exit "${1:-64}"
}

begin() {
    script=$(basename "$0" .sh)
    case ${1:-} in
    dev | staging | production) environment=$1 ;;
    -h | --help) usage 0 ;;
    *) usage ;;
    esac
    shift
    arguments=("$@")
    folder=$here/$environment
    local engine
    unset REPO PRODUCTION_REPO BUCKET DROPS LEASE LEASE_SECRET
    for engine in POSTGRES MARIADB MONGO; do
        unset "${engine}_DB" "${engine}_TARGET" "${engine}_DRILL" "${engine}_SOURCE" "${engine}_SOURCE_SECRET" "${engine}_MARK" "${engine}_MARK_SECRET"
        unset "${engine}_LOAD" "${engine}_LOAD_SECRET" "${engine}_LOAD_JOB" "${engine}_LOAD_TABLE"
    done
    # `restore_from_s3.sh --into` alone sets it. Empty it wins over a line of .env, too.
    export RESTORE_INTO=
    # macOS comes with a bash of 2007.
    [ "${BASH_VERSINFO[0]}${BASH_VERSINFO[1]}" -ge 44 ] || die 78 "bash 4.4 or newer is needed; this is $BASH_VERSION (macOS: brew install bash)"
    command -v docker >/dev/null || die 78 "docker is not installed"
    docker compose version >/dev/null 2>&1 || die 78 "docker has no compose plugin (version 2.24 or newer); install docker-compose-plugin"
}

compose() { (cd "$folder" && exec docker compose "$@"); }

# Whether the settings are there and make sense; sets $config, $project and $known.
need_settings() {
    [ -f "$folder/.env" ] || die 78 "$folder/.env is missing; copy .env.example beside it and go through it"
    # compose's own words say which setting is missing.
    config=$(compose --profile '*' config) || die 78 "$folder/.env and compose.yaml do not fit together; the line above says how"
    project=$(sed -n 's/^name: //p' <<<"$config")
    secret_files=$(sed -n '/^secrets:/,$s/^ *file: //p' <<<"$config" | sort -u)
    known=$(setting SOURCES)
}

# setting NAME: one value of .env, which is data here and never run.
setting() { sed -n "s/^$1=//p" "$folder/.env" | tail -n 1 | sed 's/^"\(.*\)"$/\1/'; }

# The name that an engine's backups are kept under in this deployment.
backup_name() {
    local name
    name=$(sed -n "/^  backup-$1:/,/^  [a-z]/s/^ *LONGSHORE_NAME: //p" <<<"$config")
    [ -n "$name" ] || die 78 "SOURCES in $folder/.env has '$1', and compose.yaml has no job backup-$1 with a LONGSHORE_NAME"
    printf '%s' "$name"
}

# Sets $sources to the engines that are meant: those named, or all of this deployment.
choose_sources() {
    sources=()
    local name
    if [ $# -eq 0 ] || [ "$*" = all ]; then
        read -ra sources <<<"$known"
        [ ${#sources[@]} -gt 0 ] || die 78 "SOURCES in $folder/.env names none"
        return
    fi
    for name in "$@"; do
        [[ " $known " = *" $name "* ]] || die 64 "there is no source '$name' here; SOURCES in $folder/.env has: $known"
        sources+=("$name")
    done
}

# alone_with ENGINE: until this script ends nobody else loads into a database of the engine here, or restores it. A load that commits into a database which is
# being replaced would be gone with it, and called loaded.
alone_with() {
    local lock other
    mkdir -p "$folder/.locks"
    exec {lock}>"$folder/.locks/data-$1"
    if command -v flock >/dev/null && ! flock --nonblock "$lock"; then
        say "$environment/$1: a load or a restore is at work; nothing was begun"
        exit 75
    fi
    # Whoever was started in another way, or is left of a script that is gone.
    for other in "load-$1" "restore-$1" import; do
        case $(docker container inspect --format '{{.State.Status}}' "$project-$other" 2>/dev/null || true) in
        running | paused | restarting)
            say "$environment/$1: a load or a restore is at work (container $project-$other), and one would undo what the other does; nothing was begun"
            exit 75
            ;;
        esac
    done
}

# job SERVICE [ARGUMENT …]: runs one job and ends with its exit code. One that is at work already is left alone, and 75 says so,
# also when whoever started it is gone: its container has a name that nothing else can have.
job() {
    local service=$1 container terminal=() state lock
    shift
    container=$project-$service
    mkdir -p "$folder/.locks"
    exec {lock}>"$folder/.locks/$service"
    # Where there is no flock, two that start in the same second are told apart by docker, less politely.
    if command -v flock >/dev/null && ! flock --nonblock "$lock"; then
        exec {lock}>&-
        say "$service: another run is at work; nothing was started"
        return 75
    fi
    state=$(docker container inspect --format '{{.State.Status}}' "$container" 2>/dev/null || true)
    case $state in
    running | paused | restarting)
        say "$service: another run is at work (container $container); nothing was started"
        exec {lock}>&-
        return 75
        ;;
    ?*) docker rm "$container" >/dev/null ;;
    esac
    if [ ! -t 0 ] || [ ! -t 1 ]; then terminal=(--no-TTY); fi
    # compose's client leaves the container running when it gets a signal. So it runs beside us, and we stop both.
    local status=0 client interrupted=no
    (cd "$folder" && exec docker compose run --rm --no-deps "${terminal[@]}" --name "$container" "${job_environment[@]}" "$service" "$@") \
        <&0 {lock}>&- &
    client=$!
    trap 'interrupted=yes; kill "$client" 2>/dev/null || true' INT TERM HUP
    wait "$client" || status=$?
    if [ $interrupted = yes ]; then
        trap '' INT TERM HUP
        wait "$client" 2>/dev/null || true
        docker stop --time 30 "$container" >/dev/null 2>&1 || true
        say "$service: interrupted by a signal; the job was stopped"
        exit 74
    fi
    trap - INT TERM HUP
    exec {lock}>&-
    return "$status"
}
job_environment=()

# worse A B: of two exit codes the one to tell: what a retry does not cure (neither 69, 74 nor 75) comes before what it may cure.
worse() {
    case $1:$2 in
    0:*) echo "$2" ;;
    *:0) echo "$1" ;;
    69:* | 74:* | 75:*) case $2 in 75) echo "$1" ;; *) echo "$2" ;; esac ;;
    *) echo "$1" ;;
    esac
}
