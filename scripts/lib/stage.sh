# shellcheck shell=bash
# Owns how a demonstration speaks and how it ends. What a newcomer sees is a heading for each step, a sentence on why, the
# commands, and what they print. Promises that whatever ends it, what it made is removed unless it was asked to stay.
# Needs: remove_playground and server_log of playground.sh. Reads: root, keep. Sets: longshore, began.

longshore='' began=$SECONDS
bold='' plain=''
if [ -t 1 ] && [ "${TERM:-dumb}" != dumb ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\e[1m' plain=$'\e[0m'; fi

heading() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
say() { printf '%s\n' "$*"; }
die() {
    printf 'demo: %s\n' "$@" >&2
    exit 69
}

# Prints a command as one would type it, and runs it. Progress bars are for terminals; a log gets only the results.
try() {
    local show=(--quiet)
    if [ -t 2 ]; then show+=(--progress always); fi
    printf '$ %s\n' "$*"
    "$longshore" "${@:2}" "${show[@]}" --log-format text
}

# The same of a command that is to end with another code than 0.
try_refused() {
    local wanted=$1 status=0
    shift
    try "$@" || status=$?
    [ "$status" = "$wanted" ] || die "that ended with $status, and should have ended with $wanted"
}

# From here on, the end is ours. A trap runs under the redirections of the command that it interrupts; what it says goes to our
# own stderr.
take_the_stage() {
    exec 3>&2
    trap ended EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
    # No configuration of the caller's may change what is shown.
    while read -r name; do unset "$name"; done < <(compgen -e | grep -E '^(LONGSHORE_|PG)' || true)
}

ended() {
    local status=$?
    exec 2>&3
    trap '' INT TERM HUP
    trap - EXIT
    case $status in
    0) ;;
    129 | 130 | 143) printf '\ndemo: interrupted; everything made here is being removed\n' >&2 ;;
    *)
        printf '\ndemo: failed with exit code %s; everything made here is being removed\n' "$status" >&2
        server_log >&2
        ;;
    esac
    if [ "$status" -ne 0 ] || [ "${keep:-no}" = no ]; then remove_playground; fi
    exit "$status"
}

build_longshore() {
    command -v cargo >/dev/null || die "cargo is not installed; get a Rust toolchain from https://rustup.rs"
    heading "Build"
    say "The first build compiles some 400 crates and takes a few minutes; later ones take seconds."
    local chatter=(--quiet)
    if [ -t 2 ]; then chatter=(); fi
    cargo build ${chatter[@]+"${chatter[@]}"} --package longshore
    longshore=${CARGO_TARGET_DIR:-$root/target}/debug/longshore
    # shellcheck disable=SC2034 # for who sources this
    began=$SECONDS
}
