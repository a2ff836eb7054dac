#!/usr/bin/env bash
# Runs the tests: all of them, the quick ones, or groups by name.
#
#   tests/run.sh [--no-install] [quick|full|NAME…]        (default: full)
#
# What is missing is installed (apt, pip, npm, maven) unless --no-install is given; servers are
# started by the tests themselves on free loopback ports with data in temporary folders, and are
# stopped by them. What could not run is listed by name, and makes `full` fail.
set -u
cd "$(dirname "$0")/.." || exit 1

GROUPS_QUICK=(style unit)
GROUPS_FULL=(style unit sidecar)

install=yes
wanted=()
for argument in "$@"; do
  case "$argument" in
    --no-install) install=no ;;
    quick) wanted+=("${GROUPS_QUICK[@]}") ;;
    full) wanted+=("${GROUPS_FULL[@]}") ;;
    -h | --help) sed -n '2,9p' "$0" | cut -c3-; echo "groups: ${GROUPS_FULL[*]}"; exit 0 ;;
    *) wanted+=("$argument") ;;
  esac
done
[ ${#wanted[@]} -gt 0 ] || wanted=("${GROUPS_FULL[@]}")

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
started=$(date +%s)
elapsed() { printf '%3d s' $(($(date +%s) - started)); }
say() { printf '[%s] %s\n' "$(elapsed)" "$*"; }

# --- The groups: each a function that says by its exit code whether it passed, 77 that it could
# --- not run. Its output goes to a log that is shown when it fails.

group_style() {
  cargo fmt --all --check || return 1
  cargo clippy --workspace --quiet -- -D warnings || return 1
  # Tests may unwrap, look at the clock and wait.
  cargo clippy --workspace --all-targets --quiet -- -D warnings \
    -A clippy::unwrap_used -A clippy::disallowed_methods || return 1
  RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet
}

group_unit() {
  cargo test --workspace --quiet --lib --bins --examples && cargo test --workspace --quiet --doc
}

group_sidecar() {
  command -v python3 >/dev/null || { echo "python3 is missing"; return 77; }
  cargo test --quiet --test sidecar
}

# --- Running them.

passed=0 failed=() skipped=() table=()
count_tests() { grep -hoE '^test result: .* ([0-9]+) passed' "$1" | grep -oE '[0-9]+ passed' | awk '{n += $1} END {print n + 0}'; }

for group in "${wanted[@]}"; do
  declare -F "group_$group" >/dev/null || { echo "no such group: $group (see --help)"; exit 2; }
done
for group in "${wanted[@]}"; do
  say "$group …"
  begin=$(date +%s)
  log="$logs/$group.log"
  INSTALL=$install "group_$group" >"$log" 2>&1
  code=$?
  took=$(($(date +%s) - begin))
  tests=$(count_tests "$log")
  passed=$((passed + tests))
  case $code in
    0) result=passed ;;
    77) result="could not run: $(tail -n 1 "$log")"; skipped+=("$group") ;;
    *) result=FAILED; failed+=("$group"); tail -n 200 "$log" ;;
  esac
  table+=("$(printf '%-14s %5d s  %5d tests  %s' "$group" "$took" "$tests" "$result")")
  say "$group $result"
done

echo
printf '%s\n' "${table[@]}"
[ ${#skipped[@]} -eq 0 ] || echo "could not run: ${skipped[*]}"
[ ${#failed[@]} -eq 0 ] || echo "failed: ${failed[*]}"
echo "$passed tests passed in $(elapsed | tr -s ' ')"
[ ${#failed[@]} -eq 0 ] && [ ${#skipped[@]} -eq 0 ]
