#!/usr/bin/env bash
# What a request costs `examples/kv`, beside redis-server.
#
#     benches/kv.sh [ROUNDS]
#
# Both servers run on CPU 0, one core each, and redis-benchmark asks them in turn from CPU 1: GET
# and SET, 50 connections, 1 and 16 requests at a time. What is counted is the CPU time of all of a
# server's threads (/proc/PID/task/*/schedstat), the kernel's part included, so what else runs on
# the machine disturbs it less than rates; a quiet machine is better all the same. Prints the
# medians, their ratio, and the median of the ratios of each round. Exit code 77 means that this
# machine cannot run it; the last line says why.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly ROUNDS=${1:-5} CONNECTIONS=50
readonly KV_PORT=${KV_PORT:-17702} REDIS_PORT=${REDIS_PORT:-17701}

skip() { echo "skipped: $1"; exit 77; }

for tool in redis-server redis-benchmark redis-cli taskset python3; do
    command -v $tool >/dev/null || skip "no $tool (Debian: redis-server, redis-tools, util-linux)"
done
[ "$(nproc)" -ge 2 ] || skip "one CPU: the benchmark would run beside the servers"

cargo build --release --quiet --example kv
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
"${CARGO_TARGET_DIR:-target}/release/examples/kv" --addr "127.0.0.1:$KV_PORT" --cpu 0 \
    >"$work/kv.log" &
servers+=($!)
for port in "$REDIS_PORT" "$KV_PORT"; do
    for _ in $(seq 50); do
        [ "$(redis-cli -p "$port" ping 2>/dev/null)" = PONG ] && continue 2
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
printf '| test | pipeline | redis-server | kv | ratio | of each round |\n'
printf '|---|--:|--:|--:|--:|--:|\n'
for pipeline in 1 16; do
    requests=$((pipeline == 1 ? 100000 : 800000))
    for test in get set; do
        for _ in $(seq "$ROUNDS"); do
            redis=$(one "${servers[0]}" "$REDIS_PORT" $test $pipeline $requests)
            kv=$(one "${servers[1]}" "$KV_PORT" $test $pipeline $requests)
            echo "$redis $kv"
        done >"$work/rounds"
        python3 - $test $pipeline "$work/rounds" <<'PYTHON'
import statistics, sys
test, pipeline, path = sys.argv[1:]
rounds = [tuple(map(int, line.split())) for line in open(path)]
redis, kv = (statistics.median(column) for column in zip(*rounds))
each = statistics.median(kv / redis for redis, kv in rounds)
print(f"| {test} | {pipeline} | {redis:.0f} | {kv:.0f} | {kv / redis:.2f} | {each:.2f} |")
PYTHON
    done
done
