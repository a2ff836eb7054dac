#!/usr/bin/env bash
# Installs what the tests need and is not there: called by tests/run.sh, once for each part.
#
#   tests/servers/install.sh redis|postgres|pgbouncer|moto|kafka|python|node|openssl|promtool…
#   tests/servers/install.sh sdk-python|sdk-node|sdk-go|sdk-java|sdk-rust|sdk-component|dapr-cli…
#
# What is installed: Debian packages by apt, Kafka's jars by Maven, and for the apps a Python
# environment and Node packages of their own below the cache folder, apart for Dapr's SDKs and for
# moto, which is AWS for tests. A service that a package starts at its installation is kept from
# starting; one that runs already is never touched.
# With INSTALL=no nothing is installed: what is missing is named, and the exit code is 77.
set -eu
cd "$(dirname "$0")/../.."
cache="${XDG_CACHE_HOME:-${HOME:?}/.cache}/bindery"
mkdir -p "$cache"

missing() {
  [ "${INSTALL:-yes}" = no ] || return 0
  echo "$1 is missing, and --no-install was given"
  exit 77
}

apt_install() {
  local sudo=''
  [ "$(id -u)" = 0 ] || sudo='sudo -n'
  command -v apt-get >/dev/null || { echo "there is no apt-get; install $* yourself"; exit 77; }
  # Debian asks this file whether it may start services.
  local policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null
    $sudo chmod +x "$policy"
    trap "$sudo rm -f $policy" EXIT
  fi
  $sudo apt-get install -y -q --no-install-recommends "$@" >/dev/null 2>&1 || {
    $sudo apt-get update -q >/dev/null
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
  }
}

find_postgres() {
  command -v postgres >/dev/null || [ -n "${BINDERY_TEST_POSTGRES:-}" ] ||
    compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null
}

for part in "$@"; do
  case "$part" in
    redis)
      command -v redis-server >/dev/null || { missing redis-server; apt_install redis-server; } ;;
    postgres)
      find_postgres || { missing PostgreSQL; apt_install postgresql; } ;;
    pgbouncer)
      command -v pgbouncer >/dev/null || { missing pgbouncer; apt_install pgbouncer; } ;;
    kafka)
      command -v java >/dev/null || { missing java; apt_install default-jre-headless; }
      if [ -z "${BINDERY_TEST_KAFKA:-}" ] && ! compgen -G "$cache/kafka/libs/kafka_*.jar" >/dev/null; then
        missing 'Apache Kafka'
        command -v mvn >/dev/null || apt_install maven
        # Into place in one step, so that a broken download is not taken for a whole one.
        rm -rf "$cache/kafka/new"
        mvn -q -B -f tests/servers/kafka/pom.xml dependency:copy-dependencies \
          -DoutputDirectory="$cache/kafka/new"
        rm -rf "$cache/kafka/libs"
        mv "$cache/kafka/new" "$cache/kafka/libs"
      fi ;;
    openssl)
      # With what opens old files, which newer Debians keep in a package of its own.
      command -v openssl >/dev/null || { missing openssl; apt_install openssl; }
      openssl list -providers -provider legacy >/dev/null 2>&1 ||
        { missing "OpenSSL's legacy provider"; apt_install openssl-provider-legacy; } ;;
    promtool)
      # Out of Prometheus' package, without the service that comes with it.
      if ! command -v promtool >/dev/null && [ ! -x "$cache/promtool/usr/bin/promtool" ]; then
        missing promtool
        command -v apt-get >/dev/null || { echo "there is no apt-get; install promtool yourself"; exit 77; }
        rm -rf "$cache/promtool"
        mkdir -p "$cache/promtool"
        (
          cd "$cache/promtool"
          apt-get download -qq prometheus 2>/dev/null || {
            apt_install --download-only prometheus
            apt-get download -qq prometheus
          }
          dpkg -x prometheus_*.deb .
          rm prometheus_*.deb usr/bin/prometheus
        )
      fi ;;
    python | sdk-python | moto)
      case "$part" in
        python) needs=tests/apps/requirements.txt ;;
        sdk-python) needs=tests/sdks/python/requirements.txt ;;
        moto) needs=tests/servers/moto/requirements.txt ;;
      esac
      command -v python3 >/dev/null || { missing python3; apt_install python3 python3-venv; }
      wanted="$cache/$part/$(cksum <"$needs" | cut -d' ' -f1)"
      if [ ! -e "$wanted" ]; then
        missing "what $needs lists"
        rm -rf "${cache:?}/$part"
        python3 -m venv "$cache/$part" || { apt_install python3-venv; python3 -m venv "$cache/$part"; }
        "$cache/$part/bin/pip" install -q -r "$needs"
        touch "$wanted"
      fi ;;
    node | sdk-node)
      needs=tests/apps/package.json
      [ "$part" = node ] || needs=tests/sdks/node/package.json
      command -v node >/dev/null || { missing node; apt_install nodejs npm; }
      wanted="$cache/$part/$(cksum <"$needs" | cut -d' ' -f1)"
      if [ ! -e "$wanted" ]; then
        missing 'what the Node apps need'
        rm -rf "${cache:?}/$part"
        mkdir -p "$cache/$part"
        cp "$needs" "$cache/$part/"
        npm install --silent --no-audit --no-fund --prefix "$cache/$part"
        touch "$wanted"
      fi ;;
    sdk-go | sdk-component)
      command -v go >/dev/null || { missing go; apt_install golang-go; }
      source=tests/sdks/${part#sdk-}
      wanted="$cache/$part/$(cat "$source/go.sum" "$source/main.go" | cksum | cut -d' ' -f1)"
      if [ ! -e "$wanted" ]; then
        missing "the Go program of $source"
        rm -rf "${cache:?}/$part"
        mkdir -p "$cache/$part"
        go build -C "$source" -o "$cache/$part/app" .
        touch "$wanted"
      fi ;;
    dapr-cli)
      version=1.12.0
      if [ ! -x "$cache/dapr-cli/dapr" ] || [ ! -e "$cache/dapr-cli/$version" ]; then
        missing "Dapr's CLI"
        command -v go >/dev/null || apt_install golang-go
        # Its go.mod puts modules in the place of others, which counts only where it is built as
        # what it is: in a folder of its own, so not with `go install`.
        module=$(go mod download -json "github.com/dapr/cli@v$version" |
          sed -n 's/^[[:space:]]*"Dir": "\(.*\)",$/\1/p')
        [ -n "$module" ] || { echo "github.com/dapr/cli $version cannot be downloaded"; exit 1; }
        rm -rf "$cache/dapr-cli"
        mkdir -p "$cache/dapr-cli"
        cp -r "$module" "$cache/dapr-cli/source"
        chmod -R u+w "$cache/dapr-cli/source"
        go build -C "$cache/dapr-cli/source" -ldflags "-s -w -X main.version=$version" \
          -o "$cache/dapr-cli/dapr" .
        rm -rf "$cache/dapr-cli/source"
        touch "$cache/dapr-cli/$version"
      fi ;;
    sdk-java)
      # The app is compiled as it is started.
      command -v javac >/dev/null || { missing javac; apt_install default-jdk-headless; }
      wanted="$cache/sdk-java/$(cksum <tests/sdks/java/pom.xml | cut -d' ' -f1)"
      if [ ! -e "$wanted" ]; then
        missing "Dapr's SDK for Java"
        command -v mvn >/dev/null || apt_install maven
        rm -rf "$cache/sdk-java"
        mvn -q -B -f tests/sdks/java/pom.xml dependency:copy-dependencies \
          -DoutputDirectory="$cache/sdk-java"
        touch "$wanted"
      fi ;;
    sdk-rust)
      wanted="$cache/sdk-rust/$(cat tests/sdks/rust/Cargo.lock tests/sdks/rust/src/main.rs | cksum | cut -d' ' -f1)"
      if [ ! -e "$wanted" ]; then
        missing 'the Rust app'
        CARGO_TARGET_DIR="$cache/sdk-rust/target" \
          cargo build --locked --quiet --manifest-path tests/sdks/rust/Cargo.toml
        find "$cache/sdk-rust" -maxdepth 1 -type f -delete
        cp "$cache/sdk-rust/target/debug/app" "$cache/sdk-rust/"
        touch "$wanted"
      fi ;;
    *) echo "no such part: $part"; exit 2 ;;
  esac
done
