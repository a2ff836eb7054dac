#!/usr/bin/env bash
# Runs the tests: all of them, the quick ones, or groups by name.
#
#   tests/run.sh [--no-install] [quick|full|NAME…]        (default: full)
#
# What is missing is installed (apt, pip, npm, maven, go) unless --no-install is given. The tests start
# every server that they need on free loopback ports with data in temporary folders, and stop it.
# To use other programs, say where they are: BINDERY_TEST_POSTGRES, BINDERY_TEST_JAVA and
# BINDERY_TEST_REDIS name folders of programs, BINDERY_TEST_KAFKA the folder of Kafka's jars,
# BINDERY_TEST_PYTHON a Python with what tests/apps/requirements.txt lists, BINDERY_TEST_NODE_PATH
# a node_modules with what tests/apps/package.json lists, BINDERY_TEST_PROMTOOL Prometheus' promtool,
# BINDERY_TEST_MOTO a Python with what tests/servers/moto/requirements.txt lists.
# BINDERY_TEST_SDK_PYTHON and BINDERY_TEST_SDK_NODE_PATH are the same for tests/sdks,
# BINDERY_TEST_SDK_GO and BINDERY_TEST_SDK_COMPONENT its Go app and Go component, built,
# BINDERY_TEST_SDK_RUST its Rust app, built, BINDERY_TEST_SDK_JAVA the folder of the Java SDK's
# jars, BINDERY_TEST_DAPR_CLI Dapr's CLI.
# What could not run is listed by name, and makes `full` fail.
set -u
cd "$(dirname "$0")/.." || exit 1

GROUPS_QUICK=(style unit sidecar)
GROUPS_FULL=(style deny build package unit loom sidecar http redis postgresql kafka pluggable scenarios sdks fuzz release faults)
# These wait for servers and timers most of their time, so two of them run side by side.
SIDE_BY_SIDE=' unit loom sidecar http redis postgresql kafka pluggable scenarios sdks '

INSTALL=yes
wanted=()
for argument in "$@"; do
  case "$argument" in
    --no-install) INSTALL=no ;;
    quick) wanted+=("${GROUPS_QUICK[@]}") ;;
    full) wanted+=("${GROUPS_FULL[@]}") ;;
    -h | --help) sed -n '2,17p' "$0" | cut -c3-; echo "groups: ${GROUPS_FULL[*]}"; exit 0 ;;
    *) wanted+=("$argument") ;;
  esac
done
[ ${#wanted[@]} -gt 0 ] || wanted=("${GROUPS_FULL[@]}")
export INSTALL

cache="${XDG_CACHE_HOME:-${HOME:?}/.cache}/bindery"
target="${CARGO_TARGET_DIR:-$PWD/target}"

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
started=$(date +%s)
elapsed() { printf '%3d s' $(($(date +%s) - started)); }
say() { printf '[%s] %s\n' "$(elapsed)" "$*"; }

# --- The groups: each a function that says by its exit code whether it passed, 77 that it could
# --- not run. Its output goes to a log that is shown when it fails.

needs() { tests/servers/install.sh "$@"; }

group_style() {
  cargo fmt --all --check && cargo fmt --manifest-path tests/fuzz/Cargo.toml --check || return 1
  cargo clippy --workspace --quiet -- -D warnings || return 1
  # Tests may unwrap, look at the clock and wait.
  cargo clippy --workspace --all-targets --quiet -- -D warnings \
    -A clippy::unwrap_used -A clippy::disallowed_methods || return 1
  RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet
}

group_deny() {
  local deny="$cache/tools/bin/cargo-deny"
  command -v cargo-deny >/dev/null && deny=$(command -v cargo-deny)
  if [ ! -x "$deny" ]; then
    [ "$INSTALL" = yes ] || { echo "cargo-deny is missing, and --no-install was given"; return 77; }
    cargo install cargo-deny --version 0.20.2 --locked --quiet --root "$cache/tools" || return 1
  fi
  "$deny" --locked check bans licenses sources
}

group_build() { cargo test --workspace --no-run --quiet; }

# What would be published is whole: every crate can be packaged, with a version for each dependency
# and nothing to be warned of. Each is looked up among the others, as if they were published.
group_package() {
  local manifest said private=()
  while read -r manifest; do
    private+=(--exclude "$(sed -n 's/^name = "\(.*\)"/\1/p' "$manifest" | head -n 1)")
  done < <(grep -l '^publish = false' actors/Cargo.toml {benches,components}/*/Cargo.toml tests/faults/Cargo.toml)
  cargo fetch --locked --quiet || return 1
  said=$(cargo package --workspace "${private[@]}" --no-verify --allow-dirty --locked --offline 2>&1)
  local code=$?
  echo "$said"
  echo "$(grep -c Packaged <<<"$said") crates"
  [ "$code" = 0 ] && ! grep -q '^warning' <<<"$said"
}

group_unit() {
  needs openssl || return
  cargo test --workspace --quiet --lib --bins --examples &&
    cargo test --workspace --quiet --doc &&
    cargo test --quiet -p bindery-contract -p bindery-actors -p bindery-cron \
      -p bindery-identity -p bindery-localstorage --test '*' &&
    cargo test --quiet --test architecture --test embedding --test runtimes
}

group_loom() {
  RUSTFLAGS='--cfg bindery_loom' CARGO_TARGET_DIR="$target/loom" \
    cargo test --quiet -p bindery-actors --test loom
}

group_sidecar() {
  command -v python3 >/dev/null || { echo "python3 is missing"; return 77; }
  # They wait most of their time.
  cargo test --quiet --test sidecar -- --test-threads=4
}

group_http() { cargo test --quiet -p bindery-http --test '*'; }
group_redis() { needs redis || return; cargo test --quiet -p bindery-redis --test '*'; }
group_postgresql() {
  needs postgres pgbouncer moto || return
  cargo test --quiet -p bindery-postgresql --test '*'
}
group_kafka() { needs kafka || return; cargo test --quiet -p bindery-kafka --test '*'; }
group_pluggable() {
  needs sdk-component || return
  cargo test --quiet -p bindery-pluggable --test '*'
}

group_scenarios() {
  needs postgres redis kafka python node promtool || return
  cargo test --quiet --test scenarios
}

# Ten seconds for each target, two of them at a time; see there for longer.
group_fuzz() { CARGO_TARGET_DIR="$target" tests/fuzz/run.sh --seconds 10; }

group_sdks() {
  needs sdk-python sdk-node sdk-go sdk-java sdk-rust sdk-component dapr-cli || return
  cargo test --quiet --test sdks
}

# The binary that users install: its profile unwinds, so what the supervisor promises holds in it.
group_release() {
  local installed=$target/installed
  cargo install --path . --locked --quiet --force --root "$installed" || return 1
  "$installed/bin/bindery" --version | grep -xE 'bindery [0-9]+\.[0-9]+\.[0-9]+' || return 1
  BINDERY_BIN="$installed/bin/bindery" cargo test --quiet --test sidecar -- demo whole_path &&
    cargo test --release --quiet -p bindery-actors --test restarts --test frozen --test deaths &&
    cargo run --release --quiet -p bindery-bench -- --quick
}

# What the promises say of faults, and that it is noticed when a mechanism is off. It measures
# memory and time, so nothing else runs beside it.
group_faults() {
  needs postgres redis kafka || return
  cargo test --quiet -p bindery-faults &&
    cargo run --quiet -p bindery-testkit -- faults --ci &&
    cargo run --quiet -p bindery-testkit -- faults --check-mutations
}

# --- Running them.

count_tests() { grep -hoE '^test result: .* ([0-9]+) passed' "$1" | grep -oE '[0-9]+ passed' | awk '{n += $1} END {print n + 0}'; }

# Runs a group and writes down how it went.
run_group() {
  local group=$1 begin code
  begin=$(date +%s)
  say "$group …"
  "group_$group" >"$logs/$group.log" 2>&1
  code=$?
  echo "$code $(($(date +%s) - begin))" >"$logs/$group.result"
  case $code in
    0)
      say "$group passed"
      # What it measured.
      grep '^|' "$logs/$group.log"
      ;;
    77) say "$group could not run: $(tail -n 1 "$logs/$group.log")" ;;
    *)
      say "$group FAILED"
      tail -n 300 "$logs/$group.log"
      ;;
  esac
}

for group in "${wanted[@]}"; do
  declare -F "group_$group" >/dev/null || { echo "no such group: $group (see --help)"; exit 2; }
done
for group in "${wanted[@]}"; do
  if [[ $SIDE_BY_SIDE == *" $group "* ]]; then
    while [ "$(jobs -rp | wc -l)" -ge 2 ]; do wait -n; done
    run_group "$group" &
  else
    wait
    run_group "$group"
  fi
done
wait

passed=0 failed=() skipped=()
echo
for group in "${wanted[@]}"; do
  read -r code took <"$logs/$group.result"
  tests=$(count_tests "$logs/$group.log")
  passed=$((passed + tests))
  case $code in
    0) result=passed ;;
    77) result='could not run'; skipped+=("$group") ;;
    *) result=FAILED; failed+=("$group") ;;
  esac
  printf '%-14s %5d s  %5d tests  %s\n' "$group" "$took" "$tests" "$result"
done
[ ${#skipped[@]} -eq 0 ] || echo "could not run: ${skipped[*]}"
[ ${#failed[@]} -eq 0 ] || echo "failed: ${failed[*]}"
echo "$passed tests passed in $(elapsed | tr -s ' ')"
[ ${#failed[@]} -eq 0 ] && [ ${#skipped[@]} -eq 0 ]
