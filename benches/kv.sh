#!/usr/bin/env bash
# What a request costs `examples/kv`, beside redis-server.
#
#     benches/kv.sh [ROUNDS]
#
# The servers run on CPU 0, one core each, and redis-benchmark asks them in turn from CPU 1: GET and
# SET, 50 connections, 1 and 16 requests at a time. What is counted is the CPU time of all of a
# server's threads (/proc/PID/task/*/schedstat), the kernel's part included, so what else runs on
# the machine disturbs it less than rates; a quiet machine is better all the same. The third server
# is written by hand on the ring (benches/versus/src/raw/store.rs) and knows GET and SET and nothing
# else, without runtime, limits, counts or expiry: what a server on a ring costs at least. Prints
# the medians, their ratios, and the medians of the ratios of each round. Exit code 77 means that
# this machine cannot run it; the last line says why.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly ROUNDS=${1:-5} CONNECTIONS=50
readonly KV_PORT=${KV_PORT:-17702} REDIS_PORT=${REDIS_PORT:-17701} RAW_PORT=${RAW_PORT:-17703}

skip() { echo "skipped: $1"; exit 77; }

for tool in redis-server redis-benchmark redis-cli taskset python3; do
    command -v $tool >/dev/null || skip "no $tool (Debian: redis-server, redis-tools, util-linux)"
done
[ "$(nproc)" -ge 2 ] || skip "one CPU: the benchmark would run beside the servers"

cargo build --release --quiet --example kv
cargo build --release --quiet -p versus
release=${CARGO_TARGET_DIR:-target}/release
work=$(mktemp -d)
servers=()
# shellcheck disable=SC2317 # called by the trap
clean() {
    for pid in "${servers[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait
    rm -rf "$work"
}
trap clean EXIT

taskset -c 0 redis-server --port "$REDIS_PORT" --bind 127.0.0.1 --save "" --appendonly no \
    --dir "$work" >"$work/redis.log" &
servers+=($!)
"$release/examples/kv" --addr "127.0.0.1:$KV_PORT" --cpu 0 >"$work/kv.log" &
servers+=($!)
# It is handed its socket, on which accepted ones get the options that the other two set.
python3 -c '
import os, socket, sys
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen(511)
os.dup2(listener.fileno(), 0)
os.execv(sys.argv[2], sys.argv[2:])' "$RAW_PORT" "$release/versus" serve raw --service store \
    >"$work/raw.log" &
servers+=($!)
for port in "$REDIS_PORT" "$KV_PORT" "$RAW_PORT"; do
    for _ in $(seq 50); do
        [ "$(redis-cli -p "$port" PING 2>/dev/null)" = PONG ] && continue 2
        sleep 0.1
    done
    cat "$work"/*.log
    echo "failed: nothing answers on port $port" >&2
    exit 1
done

# Nanoseconds on a CPU of all threads.
spent() {
    local sum=0 on_cpu file
    for file in /proc/"$1"/task/*/schedstat; do
        read -r on_cpu _ <"$file"
        sum=$((sum + on_cpu))
    done
    echo $sum
}

# one PID PORT TEST PIPELINE REQUESTS: nanoseconds per request.
one() {
    local before after
    before=$(spent "$1")
    taskset -c 1 redis-benchmark -p "$2" -t "$3" -P "$4" -n "$5" -c $CONNECTIONS -q \
        >"$work/benchmark" 2>&1
    after=$(spent "$1")
    echo $(((after - before) / $5))
}

printf 'machine: %s, %s CPUs, Linux %s, %s\n' \
    "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)" "$(nproc)" "$(uname -r)" \
    "$(redis-server --version | cut -d' ' -f1-3)"
printf 'command: redis-benchmark -t TEST -P PIPELINE -c %s, %s rounds; ns of server CPU each\n\n' \
    $CONNECTIONS "$ROUNDS"
printf '| test | pipeline | redis-server | kv | ratio | of each round '
printf '| by hand | ratio | of each round |\n'
printf '|---|--:|--:|--:|--:|--:|--:|--:|--:|\n'
for pipeline in 1 16; do
    requests=$((pipeline == 1 ? 100000 : 800000))
    for test in get set; do
        for _ in $(seq "$ROUNDS"); do
            redis=$(one "${servers[0]}" "$REDIS_PORT" $test $pipeline $requests)
            kv=$(one "${servers[1]}" "$KV_PORT" $test $pipeline $requests)
            raw=$(one "${servers[2]}" "$RAW_PORT" $test $pipeline $requests)
            echo "$redis $kv $raw"
        done >"$work/rounds"
        python3 - $test $pipeline "$work/rounds" <<'PYTHON'
import statistics, sys
test, pipeline, path = sys.argv[1:]
rounds = [tuple(map(int, line.split())) for line in open(path)]
redis, kv, raw = (statistics.median(column) for column in zip(*rounds))
each = lambda column: statistics.median(round[column] / round[0] for round in rounds)
print(f"| {test} | {pipeline} | {redis:.0f} | {kv:.0f} | {kv / redis:.2f} | {each(1):.2f} "
      f"| {raw:.0f} | {raw / redis:.2f} | {each(2):.2f} |")
PYTHON
    done
done
