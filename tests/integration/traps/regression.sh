#!/bin/sh
# regression.sh NAME: makes a database NAME and runs PostgreSQL's own tests in it, one after the other, for what they leave
# behind. What they print is not compared: statements that fail on purpose, and those that need the compiled module of
# the tests, just fail.
set -eu
name=$1
tests=/usr/share/longshore-regression
if [ ! -f "$tests/parallel_schedule" ]; then
    echo "no regression tests in this image"
    exit 0
fi
export PG_ABS_SRCDIR="$tests" PG_ABS_BUILDDIR=/tmp PG_LIBDIR=/nowhere PG_DLSUFFIX=.so
export PGTZ=PST8PDT PGDATESTYLE='Postgres, MDY' PGOPTIONS='-c client_min_messages=error -c statement_timeout=60s'
mkdir -p /tmp/testtablespace /tmp/results
psql -qX -d postgres -c "create database $name template template0 encoding utf8 locale 'C.UTF-8'"
for setting in "lc_messages = 'C'" "lc_monetary = 'C'" "lc_numeric = 'C'" "lc_time = 'C'" "bytea_output = 'hex'" \
    "timezone_abbreviations = 'Default'"; do
    psql -qX -d "$name" -c "alter database $name set $setting"
done
ended=0
for test in $(sed -n 's/^test: *//p' "$tests/parallel_schedule"); do
    # Failing statements do not end psql: only a lost connection does, or our patience.
    timeout 120 psql -qX -v HIDE_TABLEAM=on -v HIDE_TOAST_COMPRESSION=on -d "$name" -f "$tests/sql/$test.sql" \
        </dev/null >/dev/null 2>&1 && ended=$((ended + 1))
done
echo "$ended tests ran"
