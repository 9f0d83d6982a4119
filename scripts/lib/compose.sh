# shellcheck shell=bash
# Owns how the tests of the deployments come by docker's compose plugin, where the machine has none.
# Needs: what docker.sh and images.sh need, and make_base of images.sh.

# Debian 12 has a docker, and no compose for it; the package of Debian 13 runs there, too, and is taken apart and not installed.
need_compose() {
    if docker compose version >/dev/null 2>&1; then return; fi
    local folder=$cache/docker plugin=$cache/docker/cli-plugins/docker-compose
    if [ ! -x "$plugin" ]; then
        make_base trixie
        step "compose from Debian 13's package" fetch_compose "$plugin"
    fi
    export DOCKER_CONFIG=$folder
    docker compose version >/dev/null 2>&1
}

fetch_compose() {
    local folder=$cache/build/compose
    rm -rf "$folder"
    mkdir -p "$folder"
    docker run --rm --volume "$folder:/out" --workdir /out "$image_prefix/base:trixie" \
        sh -c 'apt-get update && apt-get -o APT::Sandbox::User=root download docker-compose'
    dpkg -x "$folder"/docker-compose_*.deb "$folder/package"
    keep_binary "$folder/package/usr/libexec/docker/cli-plugins/docker-compose" "$1"
    rm -rf "$folder"
}
