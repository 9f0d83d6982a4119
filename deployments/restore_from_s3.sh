#!/usr/bin/env bash
# Brings backups back into the databases of dev or staging; into staging from production's bucket. Never into production.
#
#   deployments/restore_from_s3.sh dev|staging SOURCE [--backup ID] [--into DATABASE] [--target staging/SOURCE] [--dry-run]
#                                  [-- OPTION …]
#
#   SOURCE      postgres, mariadb, mongo, or all
#   --backup    the beginning of a backup's id; without it the newest full one. What is restored is the one that the plan has
#               shown, even when a newer one has come since
#   --into      another database than the deployment's own. A backup never goes back over what it was made of: to have dev's own
#               backup back in dev, restore it into a database of another name, look at it, and rename it
#   --target    the target typed out, such as staging/postgres (staging/postgres/DATABASE with --into): nothing is replaced before somebody has. Asked for on a terminal
#   --dry-run   prints what would be restored over what, and changes nothing
#   -- OPTION   for `longshore restore`, such as -- --prove content
#
# The copy is made beside the live database, proven, disarmed by before-swap/SOURCE/*.sql (before-swap/mongo/*.json), and takes its
# name at the end.
# Exit code: that of the job (docs/exit-codes.md); 77 where the target was not typed; 75 when another restore is at work.
set -euo pipefail
# shellcheck source=deployments/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

begin "$@"
[ "$environment" != production ] || die 77 "production is never restored into; bring it back under another name, by hand: docs/guides/restore.md"
set -- "${arguments[@]}"
name=${1:-}
[ -n "$name" ] || usage
shift
backup='' into='' target='' dry=no options=()
while [ $# -gt 0 ]; do
    case $1 in
    --backup) backup=${2:?--backup takes the beginning of an id} && shift ;;
    --into) into=${2:?--into takes the name of a database} && shift ;;
    --target) target=${2:?--target takes the target typed out} && shift ;;
    --dry-run) dry=yes ;;
    --) shift && options=("$@") && break ;;
    *) usage ;;
    esac
    shift
done
[[ "$backup" =~ ^[0-9A-Za-z]*$ ]] || die 64 "--backup takes the beginning of a backup's id, not '$backup'"
[[ "$into" =~ ^[0-9A-Za-z_-]*$ ]] || die 64 "--into takes the plain name of a database, not '$into'"
export RESTORE_INTO=$into
need_settings
choose_sources "$name"
for source in "${sources[@]}"; do
    if [ -n "$into" ] && [ -n "$(setting "${source^^}_TARGET")" ]; then
        die 64 "${source^^}_TARGET in $folder/.env names the target; --into is for deployments where it does not"
    fi
done
[ -z "$backup" ] || [ ${#sources[@]} -eq 1 ] || die 64 "--backup is one backup's; name one source with it"

# What happens to the copy before anybody can connect to it; sets $scripts, and $kind, what such files are.
before_swap() {
    local file
    kind=sql scripts=()
    if [ "$1" = mongo ]; then kind=json; fi
    for file in "$folder/before-swap/$1"/*."$kind"; do
        if [ -e "$file" ]; then scripts+=("/before-swap/$1/$(basename "$file")"); fi
    done
}
disarmed_by() {
    before_swap "$1"
    if [ ${#scripts[@]} -eq 0 ]; then
        scripts=("nothing: there is no before-swap/$1/*.$kind")
    fi
    printf 'disarmed by  %s\n' "${scripts[@]}"
}

typed=$environment/$name${into:+/$into}
# The plan comes from the credential that the restore will have.
reader=longshore
if [ "$environment" = staging ]; then reader=production; fi
declare -A ids
for source in "${sources[@]}"; do
    say "plan: this backup is to become $environment/$source${into:+/$into}:"
    plan=$(job "$reader" show "$source${backup:+@$backup}" </dev/null) || exit $?
    printf '%s\n' "$plan"
    disarmed_by "$source"
    ids[$source]=$(sed -n 's/^backup  *[^@ ]*@\([0-9A-Z]\{26\}\)$/\1/p' <<<"$plan" | head -n 1)
    [ -n "${ids[$source]}" ] || die 70 "what 'longshore show' said of $source was not understood; nothing was changed"
done
[ $dry = no ] || { say "dry run: nothing was changed" && exit 0; }

if [ -z "$target" ] && [ -t 0 ]; then read -rp "type $typed to go on: " target; fi
[ "$target" = "$typed" ] || die 77 "the target is $typed, and '$target' was typed; nothing was changed"

for source in "${sources[@]}"; do alone_with "$source"; done
for source in "${sources[@]}"; do
    before_swap "$source"
    job "restore-$source" restore --from "$source@${ids[$source]}" "${scripts[@]/#/--before-swap=}" "${options[@]}" || {
        status=$?
        die "$status" "$environment/$source was not restored; what it is now is said above"
    }
    # One that the restore has made anew has no mark yet, and the next restore would refuse it.
    job "mark-$source" >&2 || die $? "$environment/$source was restored, but could not be marked as $environment; the next restore will be refused"
done
