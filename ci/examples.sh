# shellcheck shell=bash
# How each example is run by `ci/jobs.sh examples`: NAME|ARGUMENTS|TEXT THAT IT MUST PRINT, and
# |EXIT CODE if that is not 0. An example that ends by itself within a minute is run as users run
# it, others with a bound.
# shellcheck disable=SC2034 # read by ci/jobs.sh
EXAMPLES=(
    "chunked|--numbers 100000|makes the others wait"
    "chat|--demo|the member who did not read was put out of the room"
    "counter|--seeds 500|0 violations"
    "counter|--bug split-brain|fails: |1"
    "counter|--bug forgotten-votes|fails: |1"
    "echo|--demo 2|requests/s"
    "framed|--demo|every reply was the one to its request"
    "hello||hello, ring"
    "kv|--demo|every reply was right, and in its place"
    "kv|--demo --cores 3|every reply was right, and in its place"
    "poller|--seconds 2|the worst beat was"
    "proxy|--demo|every byte came back, and every end"
    "proxy|--demo --copy --cores 2|every byte came back, and every end"
    "race||the other one says far"
    "read_at||64 bytes from 0"
    "read_at|Cargo.toml 1 9|workspace"
    "slow_loris|--attackers 500 --seconds 2|of the rate without it"
    "scale|--seconds 0.5 --rounds 1|times the requests of one"
    "soak|--minutes 0.1 --connections 200|nothing was lost, duplicated, wrong or leaked"
    "udp_echo|--demo 2|came back as they were sent, 0 were lost"
    "unix_echo|--demo 2|every report was in the file"
    "wal|--seeds 500|0 violations"
    "wal|--bug no-file-sync|fails: |1"
    "wal|--bug no-directory-sync|fails: |1"
)
