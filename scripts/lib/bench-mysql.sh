# shellcheck shell=bash
# Owns the throwaway MariaDB of scripts/bench and its data: the same rows on every machine, by hash functions instead of
# RAND(). It listens on 127.0.0.1 only, with a password made for this run. Needs: $work, say, die, free_port, random_word.

mariadb_settings="innodb_buffer_pool_size=2G innodb_log_file_size=1G max_allowed_packet=64M local_infile=ON"
mariadb_pid=

find_mariadb() {
    local program
    for program in mariadbd mariadb-install-db mariadb; do
        command -v "$program" >/dev/null || die "$program not found; apt-get install mariadb-server (and mydumper, a peer)"
    done
}

start_mariadb() {
    local data=$work/mariadb socket=$work/run/mariadb.sock setting options=() user=()
    [ "$(id -u)" != 0 ] || user=(--user=mysql)
    export BENCH_MYSQL_PORT BENCH_MYSQL_PASSWORD BENCH_MYSQL_CLIENT=$work/run/client.cnf
    BENCH_MYSQL_PORT=$(free_port)
    BENCH_MYSQL_PASSWORD=$(random_word)
    for setting in $mariadb_settings; do options+=("--$setting"); done
    if [ ! -d "$data/mysql" ]; then
        rm -rf "$data"
        mkdir -p "$data"
        [ "$(id -u)" != 0 ] || chown mysql "$data"
        mariadb-install-db --no-defaults "${user[@]}" --datadir="$data" --skip-test-db --auth-root-authentication-method=normal \
            >"$work/run/install.log" 2>&1 || die "mariadb-install-db failed, see $work/run/install.log"
    fi
    # Who starts it says who bench is: the password changes with every run.
    install -m 644 /dev/null "$work/run/init.sql"
    [ "$(id -u)" != 0 ] || chown mysql "$work/run" "$work/run/init.sql"
    chmod 600 "$work/run/init.sql"
    # A statement a line: the server reads it so.
    printf "%s;\n" "CREATE OR REPLACE USER bench@'127.0.0.1' IDENTIFIED BY '$BENCH_MYSQL_PASSWORD'" \
        "GRANT ALL ON *.* TO bench@'127.0.0.1'" >"$work/run/init.sql"
    install -m 600 /dev/null "$BENCH_MYSQL_CLIENT"
    printf '[client]\nuser=bench\npassword=%s\nhost=127.0.0.1\nport=%s\n' "$BENCH_MYSQL_PASSWORD" "$BENCH_MYSQL_PORT" >"$BENCH_MYSQL_CLIENT"
    mariadbd --no-defaults "${user[@]}" --datadir="$data" --port="$BENCH_MYSQL_PORT" --bind-address=127.0.0.1 --socket="$socket" \
        --skip-name-resolve --init-file="$work/run/init.sql" "${options[@]}" >"$work/run/mariadb.log" 2>&1 &
    mariadb_pid=$!
    local begun=$SECONDS
    until mysql_bench -e "SELECT 1" >/dev/null 2>&1; do
        [ $SECONDS -lt $((begun + 60)) ] || die "nobody gets into the server, see $work/run/mariadb.log"
        kill -0 "$mariadb_pid" 2>/dev/null || die "the server does not start, see $work/run/mariadb.log"
        sleep 0.2
    done
}

stop_mariadb() {
    if [ -n "$mariadb_pid" ]; then
        kill "$mariadb_pid" 2>/dev/null || true
        wait "$mariadb_pid" 2>/dev/null || true
    fi
}

mysql_bench() { mariadb --defaults-file="$BENCH_MYSQL_CLIENT" "$@"; }

make_mysql_data() {
    local events accounts sessions documents
    case $1 in
    full) events=3000000 accounts=6000000 sessions=1000000 documents=100000 ;;
    small) events=150000 accounts=300000 sessions=50000 documents=5000 ;;
    esac
    if [ "$(mysql_bench -Ne "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'made_$1'")" = 0 ]; then
        say "making the data (minutes at full scale)"
        mysql_bench -e "DROP DATABASE IF EXISTS bench; CREATE DATABASE bench CHARACTER SET utf8mb4"
        mysql_tables_sql "$events" "$accounts" "$sessions" "$documents" | mysql_bench bench
        mysql_bench -e "CREATE DATABASE made_$1"
    fi
    # Into the cache, and known to the optimizer.
    mysql_bench bench -e "ANALYZE TABLE events, accounts, sessions, documents;
        SELECT COUNT(*) FROM events WHERE amount < 0; SELECT COUNT(*) FROM accounts WHERE abalance < 0;
        SELECT COUNT(*) FROM sessions WHERE agent = ''; SELECT COUNT(*) FROM documents WHERE body = ''" >/dev/null
}

# What an application writes: numbered rows with JSON, money and times; rows of a fixed width; rows keyed by random text; texts.
mysql_tables_sql() {
    cat <<SQL
SET unique_checks = 0, foreign_key_checks = 0;
CREATE TABLE events (
    id bigint NOT NULL PRIMARY KEY, tenant int NOT NULL, kind varchar(20) NOT NULL, amount decimal(12,2) NOT NULL,
    payload json NOT NULL, created_at datetime(3) NOT NULL);
INSERT INTO events
SELECT seq, crc32(seq) % 500, ELT(1 + crc32(seq) % 6, 'order', 'payment', 'login', 'refund', 'shipment', 'export'),
    (crc32(seq * 7) % 1000000) / 100,
    CONCAT('{"device": "', ELT(1 + crc32(seq * 3) % 3, 'ios', 'android', 'web'), '", "path": "/api/v1/orders/', crc32(seq * 5) % 90000,
        '", "ms": ', crc32(seq * 11) % 3000, ', "ok": true, "session": "', LEFT(MD5(seq DIV 5), 20), '"}'),
    TIMESTAMP('2024-01-01') + INTERVAL seq * 7 SECOND + INTERVAL (crc32(seq) % 1000) * 1000 MICROSECOND
FROM seq_1_to_$1;
ALTER TABLE events ADD KEY by_tenant (tenant, created_at), ADD KEY by_kind (kind, amount);
CREATE TABLE accounts (aid int NOT NULL PRIMARY KEY, bid int NOT NULL, abalance int NOT NULL, filler char(84) CHARACTER SET latin1 NOT NULL);
INSERT INTO accounts SELECT seq, seq DIV 100000, crc32(seq) % 10000, '' FROM seq_1_to_$2;
CREATE TABLE sessions (id char(36) NOT NULL PRIMARY KEY, user_id int NOT NULL, agent varchar(200) NOT NULL, seen datetime NOT NULL);
INSERT INTO sessions
SELECT INSERT(INSERT(INSERT(INSERT(h, 21, 0, '-'), 17, 0, '-'), 13, 0, '-'), 9, 0, '-') AS id, seq % 90000,
    CONCAT('Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/', crc32(seq) % 900, '.36 Chrome/', crc32(seq * 3) % 130, '.0'),
    TIMESTAMP('2024-01-01') + INTERVAL seq SECOND
FROM (SELECT seq, MD5(seq) AS h FROM seq_1_to_$3) AS s ORDER BY id;
ALTER TABLE sessions ADD KEY by_user (user_id, seen);
CREATE TABLE documents (id int NOT NULL PRIMARY KEY, title varchar(100) NOT NULL, body mediumtext NOT NULL);
INSERT INTO documents
SELECT seq, CONCAT('document ', seq),
    CONCAT_WS(' ', SHA2(seq, 512), REPEAT(CONCAT('a sentence of ', crc32(seq) % 400, ' words, as there are many; '), 12), SHA2(seq * 3, 512), SHA2(seq * 5, 512))
FROM seq_1_to_$4;
SQL
}
