# shellcheck shell=bash
# Owns the images of the test servers: decides whether official ones can be pulled, makes local ones when not.
# An image is made again only when its recipe changes: the recipe's hash is kept in a label.
# Needs: $root, $cache, say, die, step, need_packages, bounded; of images-mysql.sh make_mariadb, make_mysql,
# make_mysql_56; of images-mongo.sh make_mongo.

image_prefix=longshore-test
recipe_label=longshore-test.recipe
minio_version=v0.0.0-20260212201848-7aac2a2c5b7c
mc_version=v0.0.0-20250313080218-cf909e1063a9
garage_version=2.5.0

# Prints registry or local. Local images that exist already win: a machine that needed them once needs them again.
choose_images() {
    local choice=${LONGSHORE_TEST_IMAGES:-}
    if [ -z "$choice" ]; then
        if [ -n "$(docker images -q "$image_prefix/postgres:17")" ]; then
            choice=local
        elif bounded 90 docker pull -q postgres:17 >/dev/null 2>&1; then
            choice=registry
        else
            say "no image registry answers: the images are made here"
            choice=local
        fi
    fi
    case $choice in
    registry | local) printf '%s' "$choice" ;;
    *) die "LONGSHORE_TEST_IMAGES is '$choice'; it is registry or local" ;;
    esac
}

make_images() {
    make_postgres 15 bookworm
    make_postgres 17 trixie
    make_minio
    make_mariadb 10.11 bookworm
    make_mysql
    make_mongo
    make_redis redis 7.0 bookworm
    if [ "$1" = all ]; then
        make_postgres 18 sid
        make_mariadb 11.8 trixie
        make_mysql_56
        make_redis valkey 8.1 trixie
        make_garage
    fi
}

make_postgres() {
    local major=$1 suite=$2
    make_base "$suite"
    make_image "postgres:$major" "$root/tests/images/postgres" "BASE=$image_prefix/base:$suite" "MAJOR=$major"
}

# make_redis PRODUCT VERSION SUITE: of Redis, or of Valkey, which speaks the same protocol.
make_redis() {
    make_base "$3"
    make_image "$1:$2" "$root/tests/images/redis" "BASE=$image_prefix/base:$3" "PRODUCT=$1"
}

# There is no official image of it: this one is made on every machine, wherever the others come from.
make_pgbouncer() {
    if [ "$1" = local ]; then make_base bookworm; fi
    make_image pgbouncer:latest "$root/tests/images/pgbouncer" "BASE=debian:bookworm-slim"
}

# The server, and its client for what only an administrator does: users, policies, versioning, Object Lock.
make_minio() {
    make_base bookworm
    local context=$cache/context/minio server client
    server=$(built_with_go minio "$minio_version")
    client=$(built_with_go mc "$mc_version")
    fresh_context "$root/tests/images/minio" "$context" "$server" minio
    ln "$client" "$context/mc" 2>/dev/null || cp "$client" "$context/mc"
    make_image minio:latest "$context" "BASE=$image_prefix/base:bookworm" "VERSION=$minio_version" "MC=$mc_version"
}

# built_with_go NAME VERSION: the path of a binary made of one of MinIO's Go modules.
built_with_go() {
    local name=$1 version=$2 binary=$cache/bin/$1-$2
    if [ ! -x "$binary" ]; then
        command -v go >/dev/null || die "MinIO is built from its Go modules: install go, then run this again"
        step "go install $name (several minutes)" env GOBIN="$cache/build/$name" CGO_ENABLED=0 \
            go install -trimpath -ldflags="-s -w" "github.com/minio/$name@$version" >&2
        keep_binary "$cache/build/$name/$name" "$binary"
    fi
    printf '%s' "$binary"
}

make_garage() {
    make_base bookworm
    local context=$cache/context/garage binary=$cache/bin/garage-$garage_version
    if [ ! -x "$binary" ]; then
        command -v cargo >/dev/null || die "Garage is built from its crate: install cargo, then run this again"
        # Its build folder is its own: the workspace's would rebuild everything for other flags. The tests store some megabytes in
        # it: what makes it faster than that needs, and what they never ask of it, is left out, and with it half of the build.
        step "cargo install garage (several minutes)" env CARGO_TARGET_DIR="$cache/build/garage" \
            CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_DEBUG=0 \
            cargo install garage --version "$garage_version" --locked --root "$cache/build/garage-root" \
            --no-default-features --features bundled-libs,sqlite
        keep_binary "$cache/build/garage-root/bin/garage" "$binary"
        rm -rf "$cache/build/garage"
    fi
    fresh_context "$root/tests/images/garage" "$context" "$binary" garage
    make_image "garage:${garage_version%.*}" "$context" "BASE=$image_prefix/base:bookworm" "VERSION=$garage_version"
}

# A built binary appears under its final name in one step: an interrupted copy is never taken for a built one.
keep_binary() {
    mkdir -p "$(dirname "$2")"
    cp "$1" "$2.part"
    chmod 755 "$2.part"
    mv "$2.part" "$2"
}

# A build context: the recipe's files and one built binary, hard-linked where that works.
fresh_context() {
    local recipe=$1 context=$2 binary=$3 name=$4
    rm -rf "$context"
    mkdir -p "$context"
    cp -R "$recipe/." "$context/"
    ln "$binary" "$context/$name" 2>/dev/null || cp "$binary" "$context/$name"
}

# make_image NAME:TAG CONTEXT [ARG=VALUE ...]
make_image() {
    local image=$image_prefix/$1 context=$2 recipe args=() arg
    shift 2
    recipe=$(recipe_of "$context" "$@")
    if [ "$(label_of "$image")" = "$recipe" ]; then return; fi
    for arg in "$@"; do args+=(--build-arg "$arg"); done
    step "image $image" docker build -q --label "$recipe_label=$recipe" "${args[@]}" -t "$image" "$context"
}

# The hash of what decides an image: its small files (built binaries are named by version in the arguments).
recipe_of() {
    local context=$1
    shift
    {
        printf '%s\n' "$@"
        (cd "$context" && find . -type f -size -1024k -print0 | LC_ALL=C sort -z | xargs -0 sha256sum)
    } | sha256sum | cut -c1-32
}

label_of() { docker image inspect -f "{{index .Config.Labels \"$recipe_label\"}}" "$1" 2>/dev/null || true; }

# make_base SUITE: a minimal Debian from the package mirror that debootstrap knows by itself.
make_base() {
    local suite=$1 image=$image_prefix/base:$1 dir=$cache/build/base-$1 options=()
    if [ -n "$(docker images -q "$image")" ]; then return; fi
    [ "$(id -u)" = 0 ] || die "making images needs root (debootstrap)"
    need_packages debootstrap
    rm -rf "$dir"
    mkdir -p "$cache/build"
    # An older Debian lacks the signing keys of a newer one.
    if [ "$suite" != "$(host_suite)" ]; then options+=(--no-check-gpg); fi
    step "debootstrap $suite" debootstrap --variant=minbase "${options[@]}" "$suite" "$dir"
    rm -rf "$dir"/var/cache/apt/archives/*.deb "$dir"/var/lib/apt/lists/*
    step "image $image" import_base "$dir" "$image"
    rm -rf "$dir"
}

import_base() {
    tar -C "$1" -c . | docker import - "$2"
    docker tag "$2" "debian:${2##*:}-slim"
}

host_suite() { (. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}"); }

list_images() {
    docker_answers || die "docker does not answer; run: scripts/servers up"
    docker images --filter "reference=$image_prefix/*" --format '{{.Repository}}:{{.Tag}}\t{{.Size}}\t{{.CreatedSince}}'
}
