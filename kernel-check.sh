#!/usr/bin/env bash
# Says whether corering can run here, and how well.
#
#     ./kernel-check.sh [--json]
#     ./kernel-check.sh --boot VERSION [--disabled N] [PROGRAM…]
#
# The first form prints a table of the io_uring features that corering uses and whether this kernel
# has them, the limits that bound its rings, what forbids io_uring, and a verdict. --json prints the
# same as one JSON object. Exit code: 0 good, 1 works with loss, 2 cannot run (the fix is printed).
#
# Features are found by trying them, with a C compiler and ci/probe.c; without a compiler they are
# told from the kernel's version, and the table says so.
#
# The second form boots the Debian kernel VERSION (5.10, 6.1 or 6.12) under qemu, prints the table
# as that kernel answers, and runs there the static PROGRAMs (each one argument with its own
# arguments), or the project's tests if none is given. --disabled N sets kernel.io_uring_disabled
# first. Exit code: 0 if all programs gave 0, 1 if one did not, 3 if the guest died, 77 if this
# machine cannot boot it.
set -uo pipefail

# What one core asks for by default: entries of the SQ, the CQ and the buffer ring.
readonly SQ=256 CQ=2048 BUFFERS=256
# What they are charged against RLIMIT_MEMLOCK at most, with room for the buffer ring to grow, KiB.
readonly RING_KIB=128

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here

# key|feature|need|since|what is lost without it. A new opcode adds its row here and in ci/probe.c.
rows() {
    cat <<'ROWS'
setup|io_uring_setup is allowed|needed|5.1|nothing runs
cqsize|SETUP_CQSIZE|needed|5.5|multishot operations stop at a full queue
clamp|SETUP_CLAMP|needed|5.6|a large ring is refused instead of cut to size
submit_all|SETUP_SUBMIT_ALL|needed|5.18|one bad entry stops a batch
taskrun_flag|SETUP_TASKRUN_FLAG|needed|5.19|each look for completions is a system call
single_issuer|SETUP_SINGLE_ISSUER|needed|6.0|needed by DEFER_TASKRUN
defer_taskrun|SETUP_DEFER_TASKRUN|needed|6.1|completions interrupt the program
nodrop|FEAT_NODROP|needed|5.5|completions are lost when the queue is full
ext_arg|FEAT_EXT_ARG|needed|5.11|waiting has no timeout, so timers do not fire
restrictions|ring restrictions|needed|5.10|the ring would accept operations that nobody uses
iowq_max_workers|io-wq worker limits|needed|5.15|slow files start threads without bound
pbuf_ring|provided-buffer rings|needed|5.19|every idle connection holds a receive buffer
accept_multishot|multishot accept|needed|5.19|listeners do not work
recv_multishot|multishot recv|needed|6.0|streams do not work
cancel_any|ASYNC_CANCEL of all operations|needed|5.19|a runtime cannot be torn down
op_nop|NOP|needed|5.1|the ring cannot be tested
op_read|READ|needed|5.6|files cannot be read, other threads cannot wake a core
op_write|WRITE|needed|5.6|files cannot be written
op_openat|OPENAT|needed|5.6|files cannot be opened
op_fsync|FSYNC|needed|5.1|files cannot be synced
op_statx|STATX|needed|5.6|metadata cannot be read
op_renameat|RENAMEAT|needed|5.11|files cannot be renamed
op_unlinkat|UNLINKAT|needed|5.11|files and directories cannot be removed
op_mkdirat|MKDIRAT|needed|5.15|directories cannot be made
op_close|CLOSE|needed|5.6|descriptors cannot be closed in order
op_poll_add|POLL_ADD|needed|5.1|foreign descriptors cannot be waited for
op_accept|ACCEPT|needed|5.5|listeners do not work
op_connect|CONNECT|needed|5.5|no outgoing connections
op_recv|RECV|needed|5.6|streams do not work
op_send|SEND|needed|5.6|streams do not work
op_sendmsg|SENDMSG|needed|5.3|write_vectored, control data and descriptors do not work
op_recvmsg|RECVMSG|needed|5.3|datagrams, records and descriptors are not received
op_async_cancel|ASYNC_CANCEL|needed|5.5|operations cannot be cancelled
op_msg_ring|MSG_RING|needed|5.18|cores cannot wake each other
op_ftruncate|FTRUNCATE|optional|6.9|a core waits while it sets the length of a file
op_send_zc|SEND_ZC|optional|6.0|large sends are copied
pbuf_ring_inc|incremental buffer rings|optional|6.12|a short message takes a whole buffer
no_sqarray|SETUP_NO_SQARRAY|optional|6.6|up to 20 ns an operation
ring_fds|registered ring descriptor|optional|5.18|20 ns a system call
send_msg_ring|REGISTER_SEND_MSG_RING|optional|6.16|waking a core costs it up to 1 us more
no_iowait|ENTER_NO_IOWAIT|optional|6.15|an idle core is shown as waiting for I/O
cqe_skip|CQE_SKIP_SUCCESS|optional|5.17|one more completion for each cancel and close
ROWS
}

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0"; }

wrong() {
    echo "kernel-check: $1" >&2
    usage >&2
    exit 2
}

# version_at_least RELEASE SINCE: both as MAJOR.MINOR, whatever follows.
version_at_least() {
    local have=${1%%[!0-9.]*} major minor
    IFS=. read -r major minor _ <<<"$have"
    ((major > ${2%%.*} || (major == ${2%%.*} && ${minor:-0} >= ${2##*.})))
}

read_word() { [ -r "$1" ] && tr '\n\t' '  ' <"$1" | sed 's/ *$//'; }

status_field() { sed -n "s/^$1:[[:space:]]*//p" /proc/self/status; }

# Only the first user namespace's capability exempts from RLIMIT_MEMLOCK.
has_ipc_lock() {
    local effective
    effective=$(status_field CapEff)
    (((16#${effective:-0} >> 14) & 1)) || return 1
    [ "$(awk 'NR == 1 {print $1, $2, $3}' /proc/self/uid_map)" = "0 0 4294967295" ]
}

# compile OUTPUT [FLAG…]
compile() {
    local output=$1
    shift
    [ -r "$here/ci/probe.c" ] && command -v cc >/dev/null &&
        cc -O1 "$@" -o "$output" "$here/ci/probe.c" 2>/dev/null
}

# The state of this machine, in globals that the printers below read.
declare -A probed=() present=()
disabled=unknown
inspect_machine() {
    release=$(uname -r)
    disabled=$(read_word /proc/sys/kernel/io_uring_disabled) || disabled=absent
    group=$(read_word /proc/sys/kernel/io_uring_group) || group=absent
    case $(status_field Seccomp) in
        0) seccomp=none ;;
        1) seccomp=strict ;;
        2) seccomp=filter ;;
        *) seccomp=unknown ;;
    esac
    memlock_soft=$(ulimit -Sl) memlock_hard=$(ulimit -Hl)
    nofile_soft=$(ulimit -Sn) nofile_hard=$(ulimit -Hn)
    if has_ipc_lock; then ipc_lock=yes; else ipc_lock=no; fi
    cpus=$(nproc)
}

# Fills `probed` from lines of key=value.
read_probe() {
    local key value
    while IFS='=' read -r key value; do
        if [[ $key =~ ^[a-z_]+$ && -n $value ]]; then probed[$key]=$value; fi
    done
}

# Fills `present` with yes or no for each row, and a `?` behind what only the version tells.
judge_features() {
    local key _feature _need since _lost
    while IFS='|' read -r key _feature _need since _lost; do
        if [ -n "${probed[$key]:-}" ]; then
            present[$key]=${probed[$key]}
        elif version_at_least "$release" "$since"; then
            present[$key]="yes?"
        else
            present[$key]="no?"
        fi
    done < <(rows)
    if [ -z "${probed[setup]:-}" ] && sysctl_forbids; then present[setup]=EPERM; fi
}

# What the first row is without a probe: only the switch of the whole machine can be read.
sysctl_forbids() { [ "$disabled" = 2 ] || { [ "$disabled" = 1 ] && [ "$(id -u)" != 0 ]; }; }

# One line for each thing that stops corering, with its fix.
cannot_run() {
    case ${present[setup]} in
        yes | yes\?) ;;
        EPERM | EACCES) refused ;;
        ENOSYS) unknown_call ;;
        ENOMEM) no_memory ;;
        EMFILE | ENFILE) echo "no descriptors are left. Fix: raise \`ulimit -n\` (LimitNOFILE=)" ;;
        *) echo "io_uring_setup gave ${present[setup]}. Fix: boot Linux 6.1 or later" ;;
    esac
    if [ "${probed[ring]:-}" = ENOMEM ] && [ "${present[setup]}" != ENOMEM ]; then no_memory; fi
    local key feature need since _lost missing=()
    while IFS='|' read -r key feature need since _lost; do
        [[ $key != setup && $need = needed && ${present[$key]} != yes* ]] || continue
        # It runs out of memory, which is said above.
        [ "${present[$key]}" != ENOMEM ] || { no_memory; continue; }
        missing+=("$feature")
    done < <(rows)
    [ ${#missing[@]} = 0 ] || {
        local list
        printf -v list ', %s' "${missing[@]}"
        echo "Linux $release lacks ${list:2}. Fix: boot Linux 6.1 or later"
    }
}

refused() {
    local errno=${present[setup]} undo="sysctl -w kernel.io_uring_disabled=0"
    local keep="echo kernel.io_uring_disabled=0 > /etc/sysctl.d/90-io_uring.conf"
    if [ "$disabled" = 2 ]; then
        echo "kernel.io_uring_disabled is 2: io_uring is off. Fix: $undo (to keep it: $keep)"
    elif [ "$disabled" = 1 ]; then
        echo "kernel.io_uring_disabled is 1: io_uring is for CAP_SYS_ADMIN and group $group." \
            "Fix: sysctl -w kernel.io_uring_group=GID with a group of this user, or $undo"
    elif [ "$seccomp" != none ]; then
        echo "io_uring_setup was refused with $errno, and a seccomp filter is active. Container" \
            "runtimes block io_uring by default. Fix: run with the profile in" \
            "deploy/seccomp.json, or allow io_uring_setup, io_uring_enter and io_uring_register" \
            "in yours"
    else
        echo "io_uring_setup was refused with $errno, by neither sysctl nor seccomp. Fix: allow" \
            "io_uring in the policy of the security module ($(read_word /sys/kernel/security/lsm ||
                echo 'see /sys/kernel/security/lsm'))"
    fi
}

unknown_call() {
    if [ "$seccomp" = filter ]; then
        echo "io_uring_setup gave ENOSYS, and a seccomp filter is active. Fix: run with the" \
            "profile in deploy/seccomp.json, or leave the sandbox that hides io_uring"
    else
        echo "this kernel was built without io_uring (ENOSYS), or is not Linux itself (gVisor)." \
            "Fix: boot a kernel with CONFIG_IO_URING=y, 6.1 or later"
    fi
}

no_memory() {
    echo "RLIMIT_MEMLOCK is $memlock_soft KiB without CAP_IPC_LOCK: a core needs $RING_KIB KiB." \
        "Fix: \`ulimit -l $((RING_KIB * cpus))\` or more, LimitMEMLOCK= in a systemd unit," \
        "\`--ulimit memlock=-1\` for docker"
}

# One line for each thing that makes corering slower or smaller.
losses() {
    local key feature need since lost
    while IFS='|' read -r key feature need since lost; do
        if [[ $need = optional && ${present[$key]} != yes* ]]; then
            echo "no $feature (Linux $since): $lost"
        fi
    done < <(rows)
    if [[ ${present[setup]} = yes\? && $seccomp != none ]]; then
        echo "a seccomp filter is active and may forbid io_uring: install a C compiler to try it"
    fi
    local ring=${probed[ring]:-$SQ/$CQ}
    if [[ $ring == */* && $ring != "$SQ/$CQ" ]]; then
        echo "only a ring of $ring entries fits in $memlock_soft KiB of memlock: smaller batches"
    fi
    if [[ $ipc_lock = no && $memlock_soft != unlimited ]] &&
        ((memlock_soft < RING_KIB * cpus)); then
        echo "memlock of $memlock_soft KiB is too little for $cpus cores of $RING_KIB KiB:" \
            "ulimit -l $((RING_KIB * cpus))"
    fi
    if [[ $nofile_soft != unlimited ]] && ((nofile_soft < 1024)); then
        echo "$nofile_soft descriptors: each connection takes one (ulimit -n)"
    fi
}

judge() {
    judge_features
    mapfile -t blockers < <(cannot_run | awk '!seen[$0]++')
    mapfile -t lost < <(losses)
    verdict=0 words="good"
    if [ ${#lost[@]} -gt 0 ]; then verdict=1 words="works with loss"; fi
    if [ ${#blockers[@]} -gt 0 ]; then verdict=2 words="cannot run"; fi
}

how_found() {
    if [ ${#probed[@]} = 0 ]; then
        echo "by version, not probed: no C compiler, or ci/probe.c did not run"
    elif printf '%s\n' "${present[@]}" | grep -q '?'; then
        echo "probed; marked ? by version, since no ring could be built to try it"
    else
        echo "probed"
    fi
}

print_features() {
    local key feature need since without
    printf 'Linux %s (%s)\n\n' "$release" "$(how_found)"
    printf '%-32s %-9s %-6s %-7s %s\n' feature need since here "lost without it"
    while IFS='|' read -r key feature need since without; do
        printf '%-32s %-9s %-6s %-7s %s\n' "$feature" "$need" "$since" "${present[$key]}" "$without"
    done < <(rows)
}

print_limits() {
    echo
    printf '%-32s %s\n' \
        "memlock soft / hard (KiB)" "$memlock_soft / $memlock_hard" \
        "CAP_IPC_LOCK" "$ipc_lock (with it memlock does not bound rings)" \
        "ring of one core, SQ/CQ entries" "${probed[ring]:-not tried} (asked: $SQ/$CQ)" \
        "nofile soft / hard" "$nofile_soft / $nofile_hard" \
        "kernel.io_uring_disabled" "$disabled" \
        "kernel.io_uring_group" "$group" \
        "seccomp" "$seccomp"
}

print_verdict() {
    echo
    if [ $verdict = 2 ]; then
        printf 'cannot: %s\n' "${blockers[@]}"
    else
        [ ${#lost[@]} = 0 ] || printf 'loss: %s\n' "${lost[@]}"
    fi
    echo "verdict: $words"
}

json_string() {
    local s=${1//\\/\\\\}
    printf '"%s"' "${s//\"/\\\"}"
}

json_strings() {
    local separator='' item
    printf '['
    for item in "$@"; do
        printf '%s' "$separator"
        json_string "$item"
        separator=', '
    done
    printf ']'
}

# json_pairs KEY VALUE…
json_pairs() {
    local separator=''
    while [ $# -gt 1 ]; do
        printf '%s%s: %s' "$separator" "$(json_string "$1")" "$(json_string "$2")"
        separator=', '
        shift 2
    done
}

print_json() {
    local key feature need since without separator=''
    printf '{%s, "features": [' "$(json_pairs kernel "$release" found "$(how_found)")"
    while IFS='|' read -r key feature need since without; do
        printf '%s\n  {%s}' "$separator" "$(json_pairs feature "$feature" need "$need" \
            since "$since" here "${present[$key]}" lost_without "$without")"
        separator=,
    done < <(rows)
    printf '],\n "limits": {%s},\n' "$(json_pairs memlock_soft_kib "$memlock_soft" \
        memlock_hard_kib "$memlock_hard" cap_ipc_lock "$ipc_lock" ring "${probed[ring]:-}" \
        nofile_soft "$nofile_soft" nofile_hard "$nofile_hard" io_uring_disabled "$disabled" \
        io_uring_group "$group" seccomp "$seccomp")"
    printf ' "cannot": %s,\n' "$(json_strings ${blockers[@]+"${blockers[@]}"})"
    printf ' "loss": %s,\n' "$(json_strings ${lost[@]+"${lost[@]}"})"
    printf ' "verdict": %s, "code": %s}\n' "$(json_string "$words")" "$verdict"
}

check_here() {
    inspect_machine
    if compile "$work/probe"; then read_probe < <("$work/probe" $SQ $CQ $BUFFERS 2>/dev/null); fi
    judge
    if [ "$1" = json ]; then print_json; else print_features && print_limits && print_verdict; fi
    return $verdict
}

# Prints the table of a booted kernel from its probe's answers, and then the programs' own lines.
show_guest() {
    local line probing=1 answers=()
    while IFS= read -r line; do
        case $line in
            "boot: kernel "*) release=${line#boot: kernel } ;;
            *"boot: exit "*" probe "*)
                probing=0
                read_probe < <(printf '%s\n' "${answers[@]}")
                judge_features
                print_features
                echo
                ;;
            *) if [ $probing = 1 ]; then answers+=("$line"); else printf '%s\n' "$line"; fi ;;
        esac
    done
}

# check_booted VERSION DISABLED PROGRAM…
check_booted() {
    local version=$1 options=()
    [ -z "$2" ] || options=(--disabled "$2")
    shift 2
    if [ $# = 0 ]; then
        mapfile -t programs < <("$here/ci/static-tests.sh")
        [ ${#programs[@]} -gt 0 ] || { echo "kernel-check: the tests do not build" >&2; exit 2; }
        options+=(--dir "$("$here/ci/static-tests.sh" --tmpdir)")
        set -- "${programs[@]}"
    fi
    compile "$work/probe" -static || {
        echo "kernel-check: --boot needs cc and libc6-dev" >&2
        exit 77
    }
    "$here/ci/boot.sh" "${options[@]}" "$version" "$work/probe $SQ $CQ $BUFFERS" "$@" | show_guest
    return "${PIPESTATUS[0]}"
}

main() {
    local form=table version='' disabled_there='' programs=()
    while [ $# -gt 0 ]; do
        case $1 in
            --json) form=json ;;
            --boot) version=${2:-}; form=boot; shift ;;
            --disabled) disabled_there=${2:-}; shift ;;
            --help) usage; exit 0 ;;
            -*) wrong "unknown option $1" ;;
            *) programs+=("$1") ;;
        esac
        shift || break
    done
    work=$(mktemp -d) || exit 2
    trap 'rm -rf "$work"' EXIT
    if [ $form = boot ]; then
        [ -n "$version" ] || wrong "--boot needs a version"
        check_booted "$version" "$disabled_there" ${programs[@]+"${programs[@]}"}
    else
        [ ${#programs[@]} = 0 ] && [ -z "$disabled_there" ] || wrong "only --boot takes programs"
        check_here $form
    fi
}

main "$@"
