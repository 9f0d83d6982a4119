# shellcheck shell=bash
# The images: their labels, and a backup and a restore of a real PostgreSQL by a user that nobody has heard of, with a root that
# cannot be written.

test_images() {
    local name network server uid=$((20000 + RANDOM)) options
    for name in backup restore copy load longshore; do
        same "$(docker image inspect --format '{{index .Config.Labels "org.opencontainers.image.version"}} {{index .Config.Labels "org.opencontainers.image.revision"}} {{index .Config.Labels "longshore.build-number"}}' "$jobs-$name")" \
            "1.2.3 abcdef 42" "labels of $name"
        expect 0 docker run --rm --read-only --cap-drop ALL --network none --user "$uid:0" "$jobs-$name" --version
    done
    same "$(docker image inspect --format '{{.Config.User}}' "$jobs-longshore")" 10001:0 "the user of the image"
    ok "images: labels; every target starts as user $uid with a read-only root"

    network=longshore-test-$$
    docker network create --label "longshore-test=$$" "$network" >/dev/null
    options=(--label "longshore-test=$$" --network "$network")
    # A server with data, by the image that the other tests use.
    local image=postgres:15
    [ "$images" != local ] || image=longshore-test/postgres:15
    server=$(POSTGRES_PASSWORD=secret-word docker run --detach "${options[@]}" --network-alias db --env POSTGRES_PASSWORD "$image")
    until_true 60 "PostgreSQL" docker exec "$server" pg_isready --host=127.0.0.1
    docker exec --user postgres "$server" psql -X -q -c "create database clinic"
    docker exec --user postgres "$server" psql -X -q -d clinic -c "create table t as select n, md5(n::text) from generate_series(1, 5000) n"
    printf 'secret-word\n' >"$work/password"
    chmod 444 "$work/password"
    docker volume create --label "longshore-test=$$" "$network-repository" >/dev/null
    options+=(--rm --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges --user "$uid:0"
        --volume "$network-repository:/var/lib/longshore" --volume "$work/password:/run/secrets/password:ro"
        --env LONGSHORE_REPO=file:///var/lib/longshore/repository)
    expect 0 docker run "${options[@]}" --entrypoint sh "$jobs-longshore" -c 'mkdir /var/lib/longshore/repository && exec longshore init'
    expect 0 docker run "${options[@]}" --env LONGSHORE_SOURCE=postgres://postgres@db/clinic \
        --env LONGSHORE_SOURCE_PASSWORD_FILE=/run/secrets/password "$jobs-backup"
    expect 0 docker run "${options[@]}" --env LONGSHORE_TARGET=postgres://postgres@db/clinic_again \
        --env LONGSHORE_TARGET_PASSWORD_FILE=/run/secrets/password "$jobs-restore" --from clinic --prove content
    same "$(docker exec --user postgres "$server" psql -X -A -t -d clinic_again -c "select count(*), sum(n) from t")" "5000|12502500" "what came back"
    ok "images: backup and restore of a real PostgreSQL, any user, read-only root"
    docker rm --force --volumes "$server" >/dev/null
    docker volume rm "$network-repository" >/dev/null
    docker network rm "$network" >/dev/null
}
