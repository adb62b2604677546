#!/usr/bin/env bash
# Plants small bugs, one at a time, in a copy of the tree, and shows the test that finds each.
#
#     ci/planted.sh [--quick] [--shard I/N] [NAME…]
#
# `--shard 2/5` plants every fifth bug, from the second on: five such runs are the whole list, in
# pieces. What is built stays, so that the next piece begins at once.
#
# Each file of ci/planted/ is a patch with a head:
#
#     hazard: the class of what it breaks (A memory, B results, C descriptors, D threads)
#     test:   the arguments of `cargo test` that must fail with it
#     quick:  yes, if it belongs to the short list of `--quick`
#
# A bug counts as caught if the tests named still build and one of them fails, or does not end in
# time. Where the test runs a simulation with many seeds, it is said how many of them it took, and
# at the end of how many bugs that is known. Without the bugs all of them pass: that is checked
# first. The copy is in a directory of its own below the target directory, and so is what is
# built from it: the tree itself is only read. PLANTED_LIMIT: seconds that a test has to fail.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2

# Those that pass take less than a third of it.
readonly LIMIT=${PLANTED_LIMIT:-60}
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
copy=$target/planted/tree
export CARGO_TARGET_DIR=$target/planted/build
# The same is built over and over, but for a few lines.
export CARGO_INCREMENTAL=1
export RUST_BACKTRACE=0
# Simulations do not look for a shorter schedule.
export CORERING_PLANTED=1

quick=no shard=1 shards=1 names=()
while [ $# -gt 0 ]; do
    argument=$1
    shift
    case $argument in
        --quick) quick=yes ;;
        --shard)
            [[ ${1-} =~ ^([1-9][0-9]*)/([1-9][0-9]*)$ ]] &&
                shard=${BASH_REMATCH[1]} shards=${BASH_REMATCH[2]}
            [[ ${1-} == "$shard/$shards" && $shard -le $shards ]] ||
                { echo "$0: --shard I/N, with I from 1 to N" >&2; exit 2; }
            shift
            ;;
        -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit ;;
        -*) echo "$0: no such option: $argument (--help)" >&2; exit 2 ;;
        *) names+=("$argument") ;;
    esac
done

head_of() { sed -n "s/^$2: *//p;/^diff /q" "$1"; }

patches=() number=0
for patch in ci/planted/*.patch; do
    name=$(basename "$patch" .patch)
    [ $quick = no ] || [ "$(head_of "$patch" quick)" = yes ] || continue
    [ ${#names[@]} = 0 ] || [[ " ${names[*]} " == *" $name "* ]] || continue
    number=$((number + 1))
    [ $((number % shards)) = $((shard % shards)) ] || continue
    patches+=("$PWD/$patch")
done
[ ${#patches[@]} -gt 0 ] || { echo "$0: no such bug: ${names[*]}" >&2; exit 2; }

mkdir -p "$target/planted"
exec 9>"$target/planted/lock"
flock --nonblock 9 || { echo "$0: it runs already, with the same target directory" >&2; exit 2; }

# `git apply` is to take the copy for what it is, not for a part of the repository around it.
export GIT_CEILING_DIRECTORIES=$target/planted
mkdir -p "$copy" "$CARGO_TARGET_DIR"
# What comes from elsewhere is built alike for the tree and its copy. Copied, since a file that two
# directories share could be written to by both; what does not fit is built again by cargo.
if [ ! -e "$CARGO_TARGET_DIR/debug" ] && [ -e "$target/debug/deps" ]; then
    mkdir -p "$CARGO_TARGET_DIR/debug/deps"
    cp -a "$target/debug/.fingerprint" "$target/debug/build" "$CARGO_TARGET_DIR/debug/"
    find "$target/debug/deps" -maxdepth 1 \( -name '*.rlib' -o -name '*.rmeta' -o -name '*.so' \
        -o -name '*.d' \) -exec cp -a -t "$CARGO_TARGET_DIR/debug/deps" {} +
fi
# What is as it was keeps its time, and is not built again.
files=$(git ls-files --cached --others --exclude-standard | while read -r file; do
    [ -f "$file" ] && echo "$file"
done)
(cd "$copy" && find . -type f -printf '%P\n') | sort | comm -13 <(sort <<<"$files") - |
    while read -r gone; do rm "${copy:?}/$gone"; done
while read -r file; do
    cmp --silent "$file" "$copy/$file" && continue
    mkdir -p "$(dirname "$copy/$file")"
    cp --no-preserve=timestamps "$file" "$copy/$file" || exit 2
done <<<"$files"
cd "$copy" || exit 2

# One test run: 0 it passed, 1 it failed, 2 it was not built, 3 it did not end.
run() {
    local log=$CARGO_TARGET_DIR/log
    # shellcheck disable=SC2086 # the arguments of a test are words
    cargo test --quiet $1 --no-run >"$log" 2>&1 9>&- || return 2
    # shellcheck disable=SC2086
    timeout --kill-after=5 "$LIMIT" cargo test --quiet $1 >"$log" 2>&1 9>&-
    case $? in
        0) grep -q "^test result: ok. [1-9]" "$log" || return 2 ;;
        124 | 137) return 3 ;;
        *) return 1 ;;
    esac
}

failed_test() { grep -m1 -oP '^\s+\K[a-z0-9_:]+$' "$CARGO_TARGET_DIR/log"; }

# How many seeds it took, where a simulation has failed.
seeds() {
    local seed
    seed=$(grep -m1 -oP '^seed \K[0-9]+(?= fails)' "$CARGO_TARGET_DIR/log") || return
    echo "$((seed + 1))"
}

declare -A clean
for patch in "${patches[@]}"; do clean[$(head_of "$patch" test)]=; done
echo "without a bug: ${#clean[@]} sets of tests"
for test in "${!clean[@]}"; do
    run "$test" && continue
    echo "$test does not pass as it is:"
    tail -20 "$CARGO_TARGET_DIR/log"
    exit 1
done

caught=0 missed=0 simulated=0 counted=0
for patch in "${patches[@]}"; do
    name=$(basename "$patch" .patch) test=$(head_of "$patch" test) start=$SECONDS needed=
    if ! git apply "$patch" 2>"$CARGO_TARGET_DIR/log"; then
        result=3 verdict="STALE: the patch does not apply"
    else
        run "$test"
        result=$?
        case $result in
            0) verdict="MISSED by $test" ;;
            1)
                verdict="caught by $(failed_test || echo "$test")"
                needed=$(seeds) && verdict+=", seeds: $needed"
                ;;
            2) verdict="BROKEN: the tests are not built" ;;
            3) verdict="caught by $test, which does not end" result=1 ;;
        esac
        git apply -R "$patch" || exit 2
    fi
    [[ $test == *"--features sim"* ]] && simulated=$((simulated + 1))
    [ -n "$needed" ] && counted=$((counted + 1))
    if [ $result = 1 ]; then caught=$((caught + 1)); else missed=$((missed + 1)); fi
    printf '%-4s %-58s %3d s  %s\n' \
        "$(head_of "$patch" hazard)" "$name" $((SECONDS - start)) "$verdict"
    [ $result = 1 ] || tail -5 "$CARGO_TARGET_DIR/log"
done
echo "$caught caught, $missed not; seeds are known of $counted of $simulated in simulations"
[ $missed = 0 ]
