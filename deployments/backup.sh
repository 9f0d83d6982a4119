#!/usr/bin/env bash
# Backs up a deployment's databases into its repository, one after the other, each as `docker compose run` would.
#
#   deployments/backup.sh dev|staging|production [postgres|mariadb|mongo …] [-- OPTION …]
#
# Without names all that SOURCES in .env has; options after -- go to `longshore backup` (`-- --tag weekly`). Production's keep the
# tag `production` beside any other: imports to laptops know them by it. One that fails does not stop the others. Exit code: that of
# the job; of several the worst, where what a retry does not cure comes first. 75 says that another run was at work, and is no
# failure.
set -euo pipefail
# shellcheck source=deployments/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

begin "$@"
names=() options=()
for argument in "${arguments[@]}"; do
    if [ "$argument" = -- ] && [ ${#options[@]} -eq 0 ]; then options=(backup); continue; fi
    if [ ${#options[@]} -gt 0 ]; then options+=("$argument"); else names+=("$argument"); fi
done
# A tag among the options takes the place of the one that compose.yaml gives.
if [ "$environment" = production ] && [ ${#options[@]} -gt 0 ]; then options=(backup --tag production "${options[@]:1}"); fi
need_settings
choose_sources "${names[@]}"
worst=0
for source in "${sources[@]}"; do
    status=0
    job "backup-$source" "${options[@]}" || status=$?
    if [ $status -eq 0 ]; then say "$source is backed up"; else say "$source: exit $status"; fi
    worst=$(worse "$worst" "$status")
done
exit "$worst"
