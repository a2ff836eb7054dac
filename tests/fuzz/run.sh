#!/usr/bin/env bash
# Fuzzes what reads input from outside, guided by coverage, on the stable toolchain.
#
#   tests/fuzz/run.sh [--seconds SECONDS_FOR_EACH] [TARGET…]      (default: 10, all of them)
#   tests/fuzz/run.sh --keep [TARGET…]
#
# A run begins with corpus/TARGET and what earlier runs on this machine found, which is kept below
# the target folder. --keep takes the best of both into corpus/TARGET, to be committed. An input
# that makes a target fail is shown, and where it is; give that file to the target's program to see
# it fail again.
set -u
cd "$(dirname "$0")" || exit 1

ALL=(yaml settings body json cron acks grpc)
# As many run side by side.
AT_ONCE=2
# The most that is kept of one target.
KEEP_FILES=40 KEEP_BYTES=40960

seconds=10 do_it=fuzz targets=()
while [ $# -gt 0 ]; do
  case "$1" in
    --seconds) seconds=${2:?a number}; shift ;;
    --keep) do_it=take_the_best ;;
    -h | --help) sed -n '2,10p' "$0" | cut -c3-; exit 0 ;;
    *)
      [[ " ${ALL[*]} " == *" $1 "* ]] || { echo "no such target: $1 (they are: ${ALL[*]})"; exit 2; }
      targets+=("$1")
      ;;
  esac
  shift
done
[ ${#targets[@]} -gt 0 ] || targets=("${ALL[@]}")

# Relative to the root of the project, as cargo would take it there.
target=$(cd ../.. && realpath -m "${CARGO_TARGET_DIR:-target}")/fuzz
host=$(rustc -vV | sed -n 's/^host: //p')
# With a target named, none of this goes to build scripts and macros.
instrument='-Cpasses=sancov-module'
for option in level=4 inline-8bit-counters pc-table trace-compares; do
  instrument+=" -Cllvm-args=-sanitizer-coverage-$option"
done
RUSTFLAGS=$instrument cargo build --release --quiet --target "$host" --target-dir "$target" || exit 1
programs=$target/$host/release

# How long an input may be. Settings are compared with each other, so theirs are short.
max_len() {
  case "$1" in
    settings | acks) echo 400 ;;
    cron) echo 100 ;;
    *) echo 2048 ;;
  esac
}

# Where a target's inputs come from besides what was found here.
seeds() {
  echo "corpus/$1"
  [ "$1" != yaml ] || echo ../golden/check
}

fuzz() {
  local name=$1 found=$target/found/$1 failed=$target/failed/$1 log=$results/$1.log words=() input
  # Where there are no words, the target reads bytes.
  [ ! -e "dictionaries/$name.txt" ] || words=("-dict=dictionaries/$name.txt")
  mkdir -p "$found" "$failed"
  # shellcheck disable=SC2046 # Two words are meant.
  if "$programs/$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
    -max_len="$(max_len "$name")" "${words[@]}" -artifact_prefix="$failed/" \
    "$found" $(seeds "$name") >"$log" 2>&1; then
    echo "$name: $(grep -aoE '^Done [0-9]+ runs' "$log"), $(grep -aoE 'cov: [0-9]+' "$log" | tail -n 1)"
    return
  fi
  echo "$name: FAILED"
  grep -avE '^#[0-9]|^INFO|^WARNING|NEW_(FUNC|PC)' "$log" | head -n 60
  input=$(sed -n 's/.*Test unit written to //p' "$log")
  [ -z "$input" ] || { echo "the input, $input:"; od -A d -c "$input" | head -n 100; }
  echo "again: $programs/$name $input"
  return 1
}

# The fewest inputs that reach as much as all of them; the longest first, which reach the most, within
# what may be kept.
take_the_best() {
  local name=$1 found=$target/found/$1 best=$results/$1 files=0 bytes=0 size path
  mkdir -p "$best"
  # shellcheck disable=SC2046
  "$programs/$name" -merge=1 -set_cover_merge=1 -use_counters=0 -max_len="$(max_len "$name")" \
    "$best" $(seeds "$name") "$found" >/dev/null 2>&1 || { echo "$name: it fails; run it first"; return 1; }
  # What was written by hand has a name, what was found has a hash.
  find "corpus/$name" -type f -regextype posix-egrep -regex '.*/[0-9a-f]{40}' -delete
  while read -r size path; do
    files=$((files + 1)) bytes=$((bytes + size))
    [ "$files" -le "$KEEP_FILES" ] && [ "$bytes" -le "$KEEP_BYTES" ] || break
    cp "$path" "corpus/$name/"
  done < <(find "$best" -type f -printf '%s %p\n' | sort -rn)
  echo "$name: $(find "corpus/$name" -type f | wc -l) inputs are kept of $(find "$best" -type f | wc -l)"
}

results=$(mktemp -d)
# What targets leave behind goes with it.
export TMPDIR=$results
trap 'rm -rf "$results"' EXIT
for name in "${targets[@]}"; do
  while [ "$(jobs -rp | wc -l)" -ge "$AT_ONCE" ]; do wait -n; done
  { "$do_it" "$name" && touch "$results/$name.passed"; } >"$results/$name.said" 2>&1 &
done
wait
for name in "${targets[@]}"; do cat "$results/$name.said"; done
passed=$(find "$results" -name '*.passed' | wc -l)
failed=$((${#targets[@]} - passed))
echo "${#targets[@]} targets"
[ "$failed" = 0 ] && outcome=ok || outcome=FAILED
echo "test result: $outcome. $passed passed; $failed failed"
[ "$failed" = 0 ]
