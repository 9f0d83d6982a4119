#!/bin/sh
# Starts MariaDB on a data directory that it makes at the first start: root@'%' with the password of
# MARIADB_ROOT_PASSWORD, root@localhost over the local socket without one. Further arguments go to the server, so that
# --name=value sets anything. Any other command is run as it is: jobs are tested inside this image too.
set -eu

case "${1:-}" in
-*) set -- mariadbd "$@" ;;
mariadbd) ;;
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
    mariadb-install-db --no-defaults --datadir="$data" --auth-root-authentication-method=normal \
        --skip-test-db --skip-name-resolve >/dev/null
    accounts=$(mktemp)
    # In a text between quotes of SQL only quotes and backslashes mean something.
    password=$(printf '%s' "${MARIADB_ROOT_PASSWORD:?set MARIADB_ROOT_PASSWORD}" | sed "s/[\\\\']/\\\\&/g")
    cat >"$accounts" <<SQL
set session sql_log_bin = 0;
create user root@'%' identified by '$password';
grant all on *.* to root@'%' with grant option;
SQL
    set -- --init-file="$accounts" "$@"
fi
unset MARIADB_ROOT_PASSWORD

# The distribution's files stay unread: they would bind to one address and switch things on.
exec mariadbd --no-defaults --datadir="$data" --socket=/run/mysqld/mysqld.sock --pid-file=/run/mysqld/mysqld.pid \
    --bind-address='*' --port=3306 --skip-name-resolve "$@"
