#!/bin/sh
# Starts MySQL 5.6 on a data directory that it makes at the first start: root@'%' with the password of
# MYSQL_ROOT_PASSWORD, root@localhost over the local socket without one. Further arguments go to the server, so that
# --name=value sets anything. Any other command is run as it is: jobs are tested inside this image too.
set -eu

case "${1:-}" in
-*) set -- mysqld "$@" ;;
mysqld) ;;
*) exec "$@" ;;
esac

data=/var/lib/mysql
share=/usr/local/share/mysql
if [ "$(id -u)" = 0 ]; then
    exec setpriv --reuid=mysql --regid=mysql --init-groups "$0" "$@"
fi

shift
# This version has no --initialize: its own scripts make the system tables. Its help texts are left out.
if [ ! -d "$data/mysql" ]; then
    mkdir "$data/mysql"
    {
        echo 'use mysql;'
        cat "$share/mysql_system_tables.sql" "$share/mysql_system_tables_data.sql"
        # Anyone may enter, and may do all in schemas whose names begin with test: not here.
        echo "delete from user where user = '';"
        echo 'delete from db;'
    } | mysqld --no-defaults --bootstrap --datadir="$data" --lc-messages-dir="$share" --skip-log-bin
    accounts=$(mktemp)
    # In a text between quotes of SQL only quotes and backslashes mean something. One statement a line: so it is read.
    password=$(printf '%s' "${MYSQL_ROOT_PASSWORD:?set MYSQL_ROOT_PASSWORD}" | sed "s/[\\\\']/\\\\&/g")
    cat >"$accounts" <<SQL
set session sql_log_bin = 0;
grant all on *.* to root@'%' identified by '$password' with grant option;
grant proxy on ''@'' to root@'%' with grant option;
SQL
    set -- --init-file="$accounts" "$@"
fi
unset MYSQL_ROOT_PASSWORD

exec mysqld --no-defaults --datadir="$data" --lc-messages-dir="$share" --character-sets-dir="$share/charsets" \
    --socket=/run/mysqld/mysqld.sock --pid-file=/run/mysqld/mysqld.pid --bind-address='*' --port=3306 \
    --skip-name-resolve "$@"
