# shellcheck shell=bash
# Owns the docker daemon of scripts/servers: finds it, or installs and starts it; never restarts one it finds.
# Needs: $cache, say, die, step.

container_label=longshore-test
dockerd_pid_file=/var/run/longshore-dockerd.pid

docker_answers() { command -v docker >/dev/null && bounded 20 docker info >/dev/null 2>&1; }

# bounded SECONDS COMMAND ...: without a bound where the system has no timeout(1).
bounded() {
    if command -v timeout >/dev/null; then timeout "$@"; else "${@:2}"; fi
}

need_docker() {
    if docker_answers; then return; fi
    [ "$(uname -s)" = Linux ] || die "docker does not answer; start it, then run this again"
    [ "$(id -u)" = 0 ] || die "docker does not answer; start it (or run this as root, which installs and starts it)"
    if ! command -v dockerd >/dev/null; then
        need_packages docker.io
    fi
    mount_cgroups
    local driver
    for driver in overlay2 vfs; do
        if start_dockerd "$driver"; then return; fi
    done
    tail -n 40 "$cache/logs/dockerd.log" >&2
    die "dockerd does not start; its output is in $cache/logs/dockerd.log"
}

# Debian packages, installed when missing. Never upgrades what is there.
need_packages() {
    local missing=() package
    for package in "$@"; do
        if ! dpkg -s "$package" >/dev/null 2>&1; then missing+=("$package"); fi
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || die "missing: ${missing[*]}; install them, then run this again"
    [ "$(id -u)" = 0 ] || die "missing: ${missing[*]}; run: apt-get install ${missing[*]}"
    step "apt-get update" apt-get -o DPkg::Lock::Timeout=300 update
    step "apt-get install ${missing[*]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "${missing[@]}"
}

# Machines without systemd may have no cgroups mounted, and dockerd does not start without. A kernel whose controllers
# are free gives cgroup v2; otherwise each v1 controller gets its directory on a tmpfs.
mount_cgroups() {
    local top=/sys/fs/cgroup controller
    if mountpoint -q "$top"; then return; fi
    if mount -t cgroup2 cgroup2 "$top" 2>/dev/null; then
        if grep -q memory "$top/cgroup.controllers"; then return; fi
        umount "$top"
    fi
    mount -t tmpfs -o mode=755 cgroup "$top"
    while read -r controller; do
        mkdir -p "$top/$controller"
        mount -t cgroup -o "$controller" cgroup "$top/$controller" || rmdir "$top/$controller"
    done < <(awk '!/^#/ && $4 == 1 { print $1 }' /proc/cgroups)
}

# Starts dockerd with one storage driver and waits for its socket: at most 30 s, or until the process has ended.
start_dockerd() {
    local driver=$1 log=$cache/logs/dockerd.log pid tries
    mkdir -p "$cache/logs"
    say "starting dockerd ($driver) ..."
    # A process group of its own: a Ctrl-C that ends the tests must not end the daemon under other tests.
    setsid nohup dockerd --storage-driver="$driver" >"$log" 2>&1 </dev/null &
    pid=$!
    for tries in $(seq 60); do
        if docker_answers; then
            echo "$pid" >"$dockerd_pid_file"
            say "dockerd is up after $((tries / 2)) s"
            return 0
        fi
        if ! kill -0 "$pid" 2>/dev/null; then break; fi
        sleep 0.5
    done
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    return 1
}

remove_containers() {
    local left=() id
    while read -r id; do left+=("$id"); done < <(docker ps -aq --filter "label=$container_label")
    [ ${#left[@]} -gt 0 ] || return 0
    docker rm -f -v "${left[@]}" >/dev/null
    say "removed ${#left[@]} container(s)"
}

# Ends the daemon only if this script started it.
stop_own_dockerd() {
    [ -f "$dockerd_pid_file" ] || return 0
    local pid tries
    pid=$(cat "$dockerd_pid_file")
    rm -f "$dockerd_pid_file"
    [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ] || return 0
    kill "$pid"
    for tries in $(seq 40); do
        if ! kill -0 "$pid" 2>/dev/null; then
            say "stopped dockerd after $((tries / 2)) s"
            return 0
        fi
        sleep 0.5
    done
    say "dockerd ($pid) is still stopping"
}
