#!/usr/bin/env bash
# Builds the tests as static binaries, for a guest that has no libraries, and prints their paths.
#
#     ci/static-tests.sh             one path a line
#     ci/static-tests.sh --example E the path of example E instead
#     ci/static-tests.sh --tmpdir    the directory that the tests expect for their files
set -euo pipefail
cd "$(dirname "$0")/.."

# A directory of its own, since other flags would rebuild everything.
CARGO_TARGET_DIR=$(realpath -m "${CARGO_TARGET_DIR:-target}/static")
export CARGO_TARGET_DIR RUSTFLAGS="-C target-feature=+crt-static"
target=x86_64-unknown-linux-gnu

case ${1:-} in
    --tmpdir) echo "$CARGO_TARGET_DIR/tmp" ;;
    --example)
        cargo build --quiet --target $target --example "$2" >&2
        echo "$CARGO_TARGET_DIR/$target/debug/examples/$2"
        ;;
    "")
        # The other packages make no system calls. The tests that are left out need memory, a source
        # tree or a speed that the guest does not have; so do the unit tests that are skipped: one
        # asks rustc, the others count on milliseconds.
        cargo test --no-run --package corering --target $target --lib \
            --test numa --test resets --test tcp --test udp --test wakers 2>&1 |
            tee /dev/stderr | sed -n 's/^ *Executable .*(\(.*\))$/\1/p' |
            sed "/\/corering-/s/$/ --skip ring::tests::lend --skip time::tests --skip overflows/
                /\/numa-/s/$/ --nocapture/
                /\/wakers-/s/$/ --skip sleeps/"
        ;;
    *) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0" >&2; exit 2 ;;
esac
