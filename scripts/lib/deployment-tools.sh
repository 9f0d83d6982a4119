# shellcheck shell=bash
# Owns the programs that look at deployments: helm, kubeconform and actionlint, built from their Go modules in versions that do not move, and Kubernetes'
# own description of its objects. All of it is kept in the cache; a second run asks nobody.
# Needs: $cache, say, die.

helm_version=v3.22.0
kubeconform_version=v0.8.0
actionlint_version=v1.7.12
# The oldest Kubernetes that the chart promises to work with, and a recent one: a field that either does not know is an error.
# shellcheck disable=SC2034 # of whoever sources this
kubernetes_versions=(v1.27.16 v1.33.4)

# tool NAME MODULE VERSION: prints the path of a program.
tool() {
    local name=$1 module=$2 version=$3 binary=$cache/bin/$1-$3
    if [ ! -x "$binary" ]; then
        command -v go >/dev/null || die "$name is built from its Go module: install go, then run this again"
        say "building $name $version ..."
        mkdir -p "$cache/bin"
        GOBIN=$cache/build/$name-$version go install "$module@$version" >&2 \
            || die "$name $version could not be built from its Go module"
        mv "$cache/build/$name-$version/$name" "$binary"
        rm -rf "$cache/build/$name-$version"
    fi
    printf '%s' "$binary"
}

helm_tool() { tool helm helm.sh/helm/v3/cmd/helm "$helm_version"; }

kubeconform_tool() { tool kubeconform github.com/yannh/kubeconform/cmd/kubeconform "$kubeconform_version"; }

actionlint_tool() { tool actionlint github.com/rhysd/actionlint/cmd/actionlint "$actionlint_version"; }

# kubernetes_schemas VERSION: prints the folder with a schema for each kind of object, made from the API's description in the Go module.
kubernetes_schemas() {
    local version=$1 folder=$cache/kubernetes-schemas/$1 module
    if [ ! -d "$folder" ]; then
        command -v go >/dev/null || die "Kubernetes' schemas are in its Go module: install go, then run this again"
        say "fetching the API of Kubernetes $version ..."
        module=$(cd / && go mod download -json "k8s.io/kubernetes@$version" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p') || module=
        [ -n "$module" ] || die "the Go module k8s.io/kubernetes@$version cannot be fetched"
        rm -rf "$folder.part"
        mkdir -p "$folder.part"
        python3 "$root/scripts/lib/kubernetes_schemas.py" "$module/api/openapi-spec/swagger.json" "$folder.part" >&2
        mv "$folder.part" "$folder"
    fi
    printf '%s' "$folder"
}
