#!/usr/bin/env bash
# Runs a program under a container's seccomp profile, without a container.
#
#     ci/under-seccomp.sh PROFILE PROGRAM [ARGUMENT…]
#
# Conditions on arguments are not looked at: such a call is let through. Needs cc and jq (77 if
# missing).
set -euo pipefail

[ $# -ge 2 ] || { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
for tool in cc jq; do
    command -v $tool >/dev/null || { echo "under-seccomp: $tool is missing" >&2; exit 77; }
done
profile=$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# One `name errno` a line, errno 0 for allowed; a name that this architecture lacks is left out.
jq -r '.syscalls[] | (if .action == "SCMP_ACT_ALLOW" then 0 else .errnoRet end) as $errno
    | .names[] | "#ifdef SYS_\(.)\nRULE(SYS_\(.), \($errno))\n#endif"' "$profile" >"$work/rules.h"
cat >"$work/run.c" <<'C'
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#define RULE(number, error) \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1), \
    BPF_STMT(BPF_RET | BPF_K, error ? SECCOMP_RET_ERRNO | error : SECCOMP_RET_ALLOW),
static struct sock_filter filter[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
#include "rules.h"
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | DEFAULT_ERRNO),
};
int main(int argc, char **argv)
{
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    if (argc < 2 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
        perror("under-seccomp: prctl");
        return 126;
    }
    execvp(argv[1], argv + 1);
    perror("under-seccomp: exec");
    return 127;
}
C
cc -D_GNU_SOURCE -DDEFAULT_ERRNO="$(jq .defaultErrnoRet "$profile")" -o "$work/run" "$work/run.c"
"$work/run" "$@"
