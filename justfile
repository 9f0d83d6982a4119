# Short names for the scripts; everything works without just.

# what there is
default:
    @just --list

# two backups and a proven restore of a throwaway database
demo *args:
    scripts/demo {{args}}

# real servers in containers, every test
test *args:
    scripts/test {{args}}

# measure against the vendor's tools
bench *args:
    scripts/bench {{args}}

# formatting, clippy without warnings, shell scripts
lint:
    scripts/lint

# the development deployment: servers, an object store, the jobs built from this code
deploy *args:
    deployments/deploy.sh dev {{args}}

# a drop of files into a deployment's table, once: just load dev DROP
[positional-arguments]
load *args:
    @deployments/load.sh "$@"

# newest backup of a source into the development database: --access-key=… --secret-key=… (in a variable, so that no command line of ours has them)
import-backup *$IMPORT_BACKUP_OPTIONS:
    @scripts/import-backup
