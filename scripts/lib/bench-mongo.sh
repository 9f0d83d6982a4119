# shellcheck shell=bash
# Owns the throwaway MongoDB of scripts/bench: a replica set of one that asks for a password made for this run and listens on
# 127.0.0.1 only. What is in it is made by an example of the driver's crate. Needs: $work, $mongo_data, say, die, free_port,
# random_word.

mongo_settings="wiredTigerCacheSizeGB=4 oplogSize=1024"
mongod=
mongo_data=
mongo_pid=

find_mongo() {
    mongod=${BENCH_MONGOD:-$(command -v mongod || true)}
    [ -n "$mongod" ] || die "mongod not found; install MongoDB's server, or name it in BENCH_MONGOD"
}

# The port and the key are kept with the data: the set knows its member by its port.
start_mongo() {
    local data=$work/mongo new='' setting options=()
    for setting in $mongo_settings; do options+=("--${setting%%=*}" "${setting#*=}"); done
    export BENCH_MONGO_PORT BENCH_MONGO_PASSWORD BENCH_MONGO_DATA=$mongo_data
    if [ ! -f "$data/begun" ]; then
        new=yes
        rm -rf "$data"
        mkdir -p "$data/db"
        install -m 600 /dev/null "$data/key"
        install -m 600 /dev/null "$data/password"
        random_word >"$data/key"
        random_word >"$data/password"
        free_port >"$data/port"
    fi
    BENCH_MONGO_PORT=$(cat "$data/port")
    BENCH_MONGO_PASSWORD=$(cat "$data/password")
    "$mongod" --dbpath "$data/db" --port "$BENCH_MONGO_PORT" --bind_ip 127.0.0.1 --replSet bench --keyFile "$data/key" \
        "${options[@]}" --setParameter diagnosticDataCollectionEnabled=false --nounixsocket >"$work/run/mongod.log" 2>&1 &
    mongo_pid=$!
    if [ -n "$new" ]; then
        "$mongo_data" begin || die "the server does not become a replica set, see $work/run/mongod.log"
        touch "$data/begun"
    fi
    # Waits until it takes part in its set.
    "$mongo_data" describe >/dev/null || die "nobody gets into the server, see $work/run/mongod.log"
}

stop_mongo() {
    if [ -n "$mongo_pid" ]; then
        kill "$mongo_pid" 2>/dev/null || true
        wait "$mongo_pid" 2>/dev/null || true
    fi
}

make_mongo_data() {
    local rows
    case $1 in
    full) rows=4000000 ;;
    small) rows=100000 ;;
    esac
    [ ! -f "$work/mongo/made-$1" ] || return 0
    say "making the data (minutes at full scale)"
    rm -f "$work/mongo/made-"*
    "$mongo_data" fill "$rows"
    touch "$work/mongo/made-$1"
}
