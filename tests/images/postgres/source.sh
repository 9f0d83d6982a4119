#!/bin/sh
# The source of PostgreSQL's major version as Debian has it: leaves postgresql-*.orig.tar.bz2 in the working directory. A
# mirror can have the list of a new release before it has its sources; then it is an earlier release that is known by its
# sum. What is taken of it (tests, one module) is the same in every release of a major version, or nearly.
set -eu
major=$1

sed 's/^deb /deb-src /' /etc/apt/sources.list >/etc/apt/sources.list.d/source.list
apt-get -o Acquire::Check-Valid-Until=false update
if apt-get -o APT::Sandbox::User=root source --download-only --tar-only "postgresql-$major"; then exit 0; fi

# Sums from the signed description (.dsc) of each release.
case $major in
15) release=15.18 sum=11df0df97fe3ea4ba9a791faaf39cee1d2fe571e78885b5b55d8517d27c323b4 ;;
17) release=17.11 sum=dd27f2b3c59e73ed14aa3324901242bf69a032a6347805f274e6260322d42979 ;;
18) release=18.6 sum=555610c24d53e4316da5b7d3fc25c279d96856d5e0e23ee308c328c5fa881d9f ;;
*) echo "error: no earlier release of PostgreSQL $major is known here" >&2 && exit 1 ;;
esac
echo "the mirror lacks the source that it lists: taking $release instead" >&2
rm -f postgresql-*.orig.tar.bz2
archive=postgresql-${major}_$release.orig.tar.bz2
mirror=$(awk '/^deb / { print $2; exit }' /etc/apt/sources.list)
/usr/lib/apt/apt-helper download-file "$mirror/pool/main/p/postgresql-$major/$archive" "$archive" "SHA256:$sum"
