# shellcheck shell=bash
# Owns the data of scripts/bench: the same rows on every machine, by hash functions instead of random().
# `base` is never changed; every run works on copies of it. Needs: psql and pgbench on PATH, say.

sql() { psql -X -q -v ON_ERROR_STOP=1 "$@"; }

make_data() {
    local accounts events documents smaller values
    case $1 in
    full) accounts=60 events=3000000 documents=200000 smaller=200000 values=6000 ;;
    small) accounts=3 events=150000 documents=10000 smaller=10000 values=300 ;;
    esac
    if [ "$(sql -d postgres -At -c "SELECT count(*) FROM pg_database WHERE datname = 'base_$1'")" = 0 ]; then
        say "making the data (minutes at full scale)"
        sql -d postgres -c "DROP DATABASE IF EXISTS base_making" -c "CREATE DATABASE base_making"
        pgbench -i -q -s "$accounts" base_making >/dev/null 2>&1
        events_sql "$events" | sql -d base_making
        documents_sql "$documents" | sql -d base_making
        sql -d base_making -c "VACUUM (FREEZE, ANALYZE)"
        sql -d postgres -c "ALTER DATABASE base_making RENAME TO base_$1"
    fi
    sql -d postgres -c "DROP DATABASE IF EXISTS bench WITH (FORCE)" \
        -c "CREATE DATABASE bench TEMPLATE base_$1 STRATEGY file_copy"
    make_small_tables
    make_skewed "$smaller"
    make_wide "$values"
}

# What an application writes: identifiers, money, times, JSON with repeating keys and varying values.
events_sql() {
    cat <<SQL
CREATE TABLE events (
    id bigint NOT NULL, tenant integer NOT NULL, kind text NOT NULL, amount numeric(12,2) NOT NULL,
    payload jsonb NOT NULL, created_at timestamptz NOT NULL);
INSERT INTO events
SELECT i, h % 500, (ARRAY['order','payment','login','refund','shipment','export'])[1 + h % 6],
    ((h >> 8) % 1000000) / 100.0,
    jsonb_build_object('device', (ARRAY['ios','android','web'])[1 + (h >> 4) % 3], 'path', '/api/v1/orders/' || (h >> 12) % 90000,
        'ms', (h >> 20) % 3000, 'ok', h % 37 <> 0, 'tags', jsonb_build_array('t' || h % 40, 't' || (h >> 7) % 40),
        'session', substr(md5((i / 5)::text), 1, 20)),
    timestamptz '2024-01-01 00:00:00+00' + i * interval '7 seconds' + (h % 7000) * interval '1 millisecond'
FROM (SELECT i, hashint8extended(i, 42) & 9223372036854775807 AS h FROM generate_series(1, $1::bigint) AS i) AS s;
SET maintenance_work_mem = '512MB';
ALTER TABLE events ADD PRIMARY KEY (id);
CREATE INDEX ON events (tenant, created_at);
CREATE INDEX ON events USING gin (payload);
SQL
}

# Texts of about 1.8 KB: some of 400 sentences, and beside each a word that occurs nowhere else.
documents_sql() {
    cat <<SQL
CREATE TABLE documents (id bigint PRIMARY KEY, title text NOT NULL, body text NOT NULL);
WITH words AS (
    SELECT array_agg(left(md5(n::text), 2 + n % 8)) AS w FROM generate_series(1, 900) AS n
), sentences AS MATERIALIZED (
    SELECT array_agg(s) AS s FROM (
        SELECT string_agg(w[1 + (hashint8extended(k * 100 + p, 7) & 1048575) % 900], ' ' ORDER BY p) || '. ' AS s
        FROM words, generate_series(1, 400) AS k, generate_series(1, 18) AS p GROUP BY k) AS t
)
INSERT INTO documents
SELECT i, 'document ' || i, (SELECT string_agg(s[1 + (hashint8extended(i * 50 + p, 3) & 1048575) % 400] || substr(md5((i * 50 + p)::text), 1, 24) || ' ', '')
    FROM generate_series(1, 10 + (i % 7)::int) AS p)
FROM sentences, generate_series(1, $1::bigint) AS i;
SQL
}

# A database of 2,000 small tables: what schemas per customer look like.
make_small_tables() {
    sql -d postgres -c "DROP DATABASE IF EXISTS many WITH (FORCE)" -c "CREATE DATABASE many"
    local n
    for n in $(seq 1 2000); do
        echo "CREATE TABLE t$n (id int PRIMARY KEY, name text); INSERT INTO t$n SELECT i, 'row ' || i FROM generate_series(1, 20) AS i;"
        # One transaction for all of them would need more locks than a server has by default.
    done | sql -d many -c "SET synchronous_commit = off" -f - -o /dev/null
    sql -d many -c "VACUUM ANALYZE"
}

# One table ten times larger than the ten others: what is left for one worker at the end when work is cut by table.
make_skewed() {
    sql -d postgres -c "DROP DATABASE IF EXISTS skewed WITH (FORCE)" -c "CREATE DATABASE skewed"
    local n rows
    for n in $(seq 0 10); do
        rows=$1
        [ "$n" -gt 0 ] || rows=$(($1 * 10))
        echo "CREATE TABLE orders_$n (id bigint NOT NULL, customer int NOT NULL, at timestamptz NOT NULL, note text NOT NULL);
            INSERT INTO orders_$n SELECT i, hashint8extended(i, $n) & 65535, timestamptz '2024-01-01 00:00:00+00' + i * interval '1 minute',
                md5((i * 16 + $n)::text) || ' ' || md5((i / 9)::text) FROM generate_series(1, $rows::bigint) AS i;
            ALTER TABLE orders_$n ADD PRIMARY KEY (id); CREATE INDEX ON orders_$n (customer, at);"
    done | sql -d skewed -f - -o /dev/null
    sql -d skewed -c "VACUUM ANALYZE"
}

# Values that are kept beside their table and do not compress: images, documents, signals.
make_wide() {
    sql -d postgres -c "DROP DATABASE IF EXISTS wide WITH (FORCE)" -c "CREATE DATABASE wide"
    sql -d wide <<SQL
CREATE TABLE scans (id bigint PRIMARY KEY, taken timestamptz NOT NULL, pixels bytea NOT NULL);
ALTER TABLE scans ALTER pixels SET STORAGE EXTERNAL;
INSERT INTO scans
SELECT i, timestamptz '2024-01-01 00:00:00+00' + i * interval '1 hour',
    (SELECT string_agg(sha256(int8send(i * 8192 + p)), ''::bytea) FROM generate_series(1, 32 * (1 + (hashint8extended(i, 5) & 127))) AS p)
FROM generate_series(1, $1::bigint) AS i;
SQL
    sql -d wide -c "VACUUM ANALYZE"
}
