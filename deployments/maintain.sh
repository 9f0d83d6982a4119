#!/usr/bin/env bash
# What keeps backups worth having: reading them back, practising restores, removing old ones, and saying what is overdue.
#
#   deployments/maintain.sh dev|staging|production verify|prune|check [-- OPTION …]
#   deployments/maintain.sh dev|staging drill [SOURCE …]
#
# verify reads VERIFY_SAMPLE of the chunks, prune applies KEEP_… of .env, check fails (76) when a backup, verification or drill of a
# source in SOURCES is too old, or was never made (-- --name NAME asks about other ones). drill restores the newest backup of each
# source into a scratch database on this deployment's server and drops it; on staging these are production's backups. Options
# after -- go to the command, such as -- --dry-run. Exit code: that of the job.
set -euo pipefail
# shellcheck source=deployments/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

begin "$@"
set -- "${arguments[@]}"
what=${1:-}
[ $# -eq 0 ] || shift
case $what in
verify | prune | check)
    [ "${1:---}" = -- ] || usage
    [ $# -eq 0 ] || shift
    need_settings
    # Without names only those that have a backup would be looked at, and one that never had any would be missed.
    if [ "$what" = check ] && [[ " $* " != *" --name"[\ =]* ]]; then
        choose_sources all
        for source in "${sources[@]}"; do
            name=$(backup_name "$source") || exit $?
            set -- "$@" --name "$name"
        done
    fi
    if [ $# -gt 0 ]; then set -- "$what" "$@"; fi
    job "$what" "$@"
    ;;
drill)
    [ "$environment" != production ] || die 64 "drills run on staging, which restores production's backups: maintain.sh staging drill"
    need_settings
    choose_sources "$@"
    worst=0
    for source in "${sources[@]}"; do
        status=0
        job "drill-$source" || status=$?
        if [ $status -ne 0 ]; then say "$source: exit $status"; fi
        worst=$(worse "$worst" "$status")
    done
    exit "$worst"
    ;;
*) usage ;;
esac
