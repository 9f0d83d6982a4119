#!/usr/bin/env bash
# Loads a drop of files into a table of a deployment's PostgreSQL: once, alone, all or nothing (docs/guides/loader.md).
#
#   deployments/load.sh dev|staging|production DROP [-- OPTION …]
#   deployments/load.sh dev|staging|production --history [-- OPTION …]
#
#   DROP        a folder in the DROPS of .env: its name there, or its whole path. Anything that lies elsewhere, or leads there, is
#               refused, because the loader is given DROPS alone, to read
#   --history   loads nothing and shows what was loaded, also while a load is at work
#   -- OPTION   for `longshore load`, such as -- --dry-run, or -- --job donors --table lab.donors beside POSTGRES_LOAD_JOB and
#               POSTGRES_LOAD_TABLE of .env. Files among them are named as the loader sees them: /drops is DROPS. Rows that are
#               left out (--rejects) would be gone with the container, so that is refused; so is a lease of one's own
#
# What is loaded while a restore is at work would be gone with the database that it replaces: that is refused, too. One load is at work
# at a time in a deployment, and of one job everywhere: the lease sees to that.
# Exit code: that of the job (docs/exit-codes.md). 75 says that another loader, or a restore, is at work, and that nothing was loaded.
set -euo pipefail
# shellcheck source=deployments/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

begin "$@"
set -- "${arguments[@]}"
drop='' history=no options=()
while [ $# -gt 0 ]; do
    case $1 in
    --history) history=yes ;;
    --) shift && break ;;
    -* | '') usage ;;
    *) [ -z "$drop" ] || usage && drop=$1 ;;
    esac
    shift
done
for option in "$@"; do
    case $option in
    --history) history=yes ;;
    --rejects | --rejects=*) die 64 "--rejects: rows that are left out would be gone with the container; mend the drop, or see docs/guides/loader.md, \"In a deployment\"" ;;
    --*password | --*password=*) die 64 "${option%%=*} would be seen by everybody on this machine; secrets/ has a file for it" ;;
    --lease | --lease=*) die 64 "--lease: loads that do not share it do not know of each other; LEASE in .env says where it is" ;;
    *) options+=("$option") ;;
    esac
done
case $history:$drop in
yes:?* | no:) usage ;;
esac

# What a path is without links and `..`, with a slash at its end; fails when it is no folder.
real() { (CDPATH='' cd -P -- "$1" 2>/dev/null && printf '%s/' "$PWD"); }

# Sets $inside to the drop as the loader sees it.
find_drop() {
    local drops path top found
    drops=$(setting DROPS)
    [ -n "$drops" ] || die 78 "DROPS in $folder/.env does not say where drops are"
    [[ $drops = /* ]] || drops=$folder/$drops
    path=$drop
    [[ $path = /* ]] || path=$drops/$path
    top=$(real "$drops") || die 78 "DROPS in $folder/.env is $drops, and there is no such folder that can be entered"
    found=$(real "$path") || die 66 "there is no drop $path that can be entered; nothing was loaded"
    [[ $found = "$top"?* ]] || die 77 "$path is no folder in $top, which DROPS in $folder/.env names; nothing was loaded"
    inside=${found#"$top"}
    inside=/drops/${inside%/}
}

# told NAME OPTION: whether .env or the command line says it.
told() { [ -n "$(setting "$1")" ] || [[ " ${options[*]} " = *" $2"[\ =]* ]]; }

need_settings
if [ $history = yes ]; then
    # It asks the database alone: the folder of drops need not be there.
    DROPS=$folder compose run --rm --no-deps --no-TTY load-postgres load --history "${options[@]}"
    exit
fi
find_drop
told POSTGRES_LOAD_JOB --job || die 78 "POSTGRES_LOAD_JOB in $folder/.env does not name the job whose drop this is; or say -- --job NAME"
told POSTGRES_LOAD_TABLE --table || die 78 "POSTGRES_LOAD_TABLE in $folder/.env does not name the table; or say -- --table SCHEMA.TABLE"
[[ $(setting LEASE) != file:* ]] || die 78 "LEASE in $folder/.env is a file, which would be each container's own; name a server"
alone_with postgres

# Whoever is refused meanwhile is told who is at work.
job_environment=(--env "LONGSHORE_HOLDER=$(id -un 2>/dev/null || id -u)@${HOSTNAME:-$environment}")
status=0
job load-postgres load --drop "$inside" "${options[@]}" || status=$?
case $status in
0) ;;
75) say "another loader is at work; nothing was loaded. Run this again when it has ended" ;;
*) say "$drop: exit $status" ;;
esac
exit "$status"
