#!/usr/bin/env bash
# Plants small bugs, one at a time, in a copy of the tree, and shows the test that finds each.
#
#     ci/planted.sh [--quick] [NAME…]
#
# Each file of ci/planted/ is a patch with a head:
#
#     hazard: the class of what it breaks (A memory, B results, C descriptors, D threads)
#     test:   the arguments of `cargo test` that must fail with it
#     quick:  yes, if it belongs to the short list of `--quick`
#
# A bug counts as caught if the tests named still build and one of them fails, or does not end in
# time. Where the test runs a simulation with many seeds, it is said how many of them it took.
# Without the bugs all of them pass: that is checked first. The copy is in a directory of its
# own below the target directory, and so is what is built from it.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2

readonly LIMIT=60 # seconds for one test to fail; those that pass take less than a third of it
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
copy=$target/planted/tree
export CARGO_TARGET_DIR=$target/planted/build
export RUST_BACKTRACE=0
# Simulations do not look for a shorter schedule.
export CORERING_PLANTED=1

quick=no names=()
for argument in "$@"; do
    case $argument in
        --quick) quick=yes ;;
        -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit ;;
        -*) echo "$0: no such option: $argument (--help)" >&2; exit 2 ;;
        *) names+=("$argument") ;;
    esac
done

head_of() { sed -n "s/^$2: *//p;/^diff /q" "$1"; }

patches=()
for patch in ci/planted/*.patch; do
    name=$(basename "$patch" .patch)
    [ $quick = no ] || [ "$(head_of "$patch" quick)" = yes ] || continue
    [ ${#names[@]} = 0 ] || [[ " ${names[*]} " == *" $name "* ]] || continue
    patches+=("$PWD/$patch")
done
[ ${#patches[@]} -gt 0 ] || { echo "$0: no such bug: ${names[*]}" >&2; exit 2; }

# `git apply` is to take the copy for what it is, not for a part of the repository around it.
export GIT_CEILING_DIRECTORIES=$target/planted
rm -rf "$copy"
mkdir -p "$copy" "$CARGO_TARGET_DIR"
git ls-files -z --cached --others --exclude-standard |
    tar --create --null --files-from=- | tar --extract --touch --directory="$copy" || exit 2
cd "$copy" || exit 2

# One test run: 0 it passed, 1 it failed, 2 it was not built, 3 it did not end.
run() {
    local log=$CARGO_TARGET_DIR/log
    # shellcheck disable=SC2086 # the arguments of a test are words
    cargo test --quiet $1 --no-run >"$log" 2>&1 || return 2
    # shellcheck disable=SC2086
    timeout --kill-after=5 $LIMIT cargo test --quiet $1 >"$log" 2>&1
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
    echo ", $((seed + 1)) seeds"
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

caught=0 missed=0
for patch in "${patches[@]}"; do
    name=$(basename "$patch" .patch) test=$(head_of "$patch" test) start=$SECONDS
    if ! git apply "$patch" 2>"$CARGO_TARGET_DIR/log"; then
        result=3 verdict="STALE: the patch does not apply"
    else
        run "$test"
        result=$?
        case $result in
            0) verdict="MISSED by $test" ;;
            1) verdict="caught by $(failed_test || echo "$test")$(seeds)" ;;
            2) verdict="BROKEN: the tests are not built" ;;
            3) verdict="caught by $test, which does not end" result=1 ;;
        esac
        git apply -R "$patch" || exit 2
    fi
    if [ $result = 1 ]; then caught=$((caught + 1)); else missed=$((missed + 1)); fi
    printf '%-4s %-58s %3d s  %s\n' \
        "$(head_of "$patch" hazard)" "$name" $((SECONDS - start)) "$verdict"
    [ $result = 1 ] || tail -5 "$CARGO_TARGET_DIR/log"
done
echo "$caught caught, $missed not"
[ $missed = 0 ]
