# shellcheck shell=bash
# What the files of the deployments say, without starting anything.

test_config() {
    local environment config services image files=${COMPOSE_FILE:-}
    # As they are, without what this machine has otherwise.
    unset COMPOSE_FILE
    for environment in dev staging production; do
        cp "$work/deployments/$environment/.env.example" "$work/deployments/$environment/.env"
        config=$(compose "$environment" --profile '*' config) || die "$environment does not validate"
        ok "config: $environment validates with its example settings"
        services=$(compose "$environment" config --services)
        ! grep -E '^(backup|restore|drill|mark|load|prune|verify|check|init|bucket|longshore)' <<<"$services" || die "$environment: a job starts without being asked"
        ok "config: jobs of $environment are behind a profile"
        while read -r image; do
            [[ $image =~ :[^:]*[0-9] || $image = longshore:dev ]] && [[ $image != *:latest ]] || die "$environment: image '$image' is not pinned"
        done < <(sed -n 's/^ *image: //p' <<<"$config" | tr -d '"')
        ok "config: images of $environment are pinned"
        ! grep -iE '^ +[A-Z_]*(PASSWORD|SECRET_KEY|ACCESS_KEY): ' <<<"$config" || die "$environment: a secret in the environment"
        ok "config: no secret of $environment is in an environment"
        printf 'LONGSHORE_PUSH_GATEWAY=http://gateway.example.org\n' >"$work/deployments/$environment/jobs.env"
        config=$(compose "$environment" --profile '*' config)
        same "$(grep -c 'gateway.example.org' <<<"$config")" "$(grep -c '^    mem_limit:' <<<"$config")" "jobs of $environment that are told of jobs.env, and jobs"
        ok "config: every job of $environment has what jobs.env says"
        rm "$work/deployments/$environment/.env" "$work/deployments/$environment/jobs.env"
    done
    services=$(cp "$work/deployments/production/.env.example" "$work/deployments/production/.env" && compose production --profile '*' config --services)
    rm "$work/deployments/production/.env"
    ! grep -E '^(restore|drill)' <<<"$services" || die "production has a job that restores"
    ok "config: nothing in production restores"
    for environment in production staging; do
        cp "$work/deployments/$environment/.env.example" "$work/deployments/$environment/.env"
        set_in "$environment" COMPOSE_FILE compose.yaml:encrypted.yaml
        config=$(compose "$environment" --profile '*' config) || die "$environment does not validate when it is encrypted"
        rm "$work/deployments/$environment/.env"
        if [ "$environment" = production ]; then ! grep -i identity <<<"$config" || die "production holds what reads backups"; fi
    done
    ok "config: for encrypted repositories, too, and production holds nothing that reads them"
    expect 77 script restore_from_s3 production postgres --target production/postgres
    said "never restored into"
    ok "config: restore_from_s3.sh refuses production"
    expect 78 script backup staging
    said ".env.example"
    ok "config: a deployment without settings says what to do"
    expect 64 script backup elsewhere
    ok "config: an unknown deployment is refused"
    if [ -n "$files" ]; then export COMPOSE_FILE=$files; fi
    if systemd-analyze --version >/dev/null 2>&1; then
        test_units
    else
        skipped "systemd-analyze is not on this machine; the units were not looked at"
    fi
}

# systemd looks for the programs that units name; the copy names ones that are there.
test_units() {
    local unit
    mkdir -p "$work/units"
    for unit in "$root"/deployments/systemd/*.service "$root"/deployments/systemd/*.timer; do
        sed "s|/opt/longshore/deployments|$work/deployments|" "$unit" >"$work/units/$(basename "$unit")"
    done
    expect 0 systemd-analyze verify --man=no "$work"/units/longshore-*@.service "$work"/units/*.timer
    [ ! -s "$work/output" ] || { cat "$work/output" >&2 && die "systemd has something to say about the units"; }
    ok "config: systemd takes the units"
    for unit in "$root"/deployments/systemd/*.service; do
        grep -qx 'SuccessExitStatus=75' "$unit" || die "$unit: an overlapping run would be an alarm"
    done
    ok "config: an overlapping run is no alarm"
}
