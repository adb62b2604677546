# shellcheck shell=bash
# How each example is run by `ci/jobs.sh examples`: NAME|ARGUMENTS|TEXT THAT IT MUST PRINT.
# An example that ends by itself within a minute is run as users run it, others with a bound.
# shellcheck disable=SC2034 # read by ci/jobs.sh
EXAMPLES=(
    "echo|--demo 2|requests/s"
    "hello||hello, ring"
    "read_at||64 bytes from 0"
    "read_at|Cargo.toml 1 9|workspace"
    "soak|--minutes 0.1 --connections 200|nothing was lost, duplicated, wrong or leaked"
)
