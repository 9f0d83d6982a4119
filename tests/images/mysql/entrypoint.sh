#!/bin/sh
# Starts MySQL on a data directory that it makes at the first start: root@'%' with the password of MYSQL_ROOT_PASSWORD,
# root@localhost over the local socket without one. Further arguments go to the server, so that --name=value sets
# anything. Any other command is run as it is: jobs are tested inside this image too.
set -eu

case "${1:-}" in
-*) set -- mysqld "$@" ;;
mysqld) ;;
*) exec "$@" ;;
esac

data=/var/lib/mysql
if [ "$(id -u)" = 0 ]; then
    exec setpriv --reuid=mysql --regid=mysql --init-groups "$0" "$@"
fi

shift
# The server runs the file before it answers its first connection: whoever gets in finds the account. Only the first
# start has it, so that a later one neither undoes what a test did to the account nor writes anything.
if [ ! -d "$data/mysql" ]; then
    # It reads the settings too: some of them can be set only now (lower_case_table_names).
    mysqld --no-defaults --initialize-insecure --datadir="$data" "$@"
    accounts=$(mktemp)
    # In a text between quotes of SQL only quotes and backslashes mean something.
    password=$(printf '%s' "${MYSQL_ROOT_PASSWORD:?set MYSQL_ROOT_PASSWORD}" | sed "s/[\\\\']/\\\\&/g")
    cat >"$accounts" <<SQL
set session sql_log_bin = 0;
create user root@'%' identified by '$password';
grant all on *.* to root@'%' with grant option;
SQL
    set -- --init-file="$accounts" "$@"
fi
unset MYSQL_ROOT_PASSWORD

# The distribution's files stay unread: they would bind to one address and switch things on.
exec mysqld --no-defaults --datadir="$data" --socket=/run/mysqld/mysqld.sock --pid-file=/run/mysqld/mysqld.pid \
    --secure-file-priv=/var/lib/mysql-files --bind-address='*' --port=3306 --mysqlx=OFF --skip-name-resolve "$@"
