/*
 * Runs a program for which io_uring_setup, io_uring_enter and io_uring_register fail, as under a
 * container runtime's seccomp profile (EPERM) or in a sandbox (ENOSYS).
 *
 *     cc -o deny-io-uring ci/deny-io-uring.c && ./deny-io-uring EPERM|ENOSYS PROGRAM [ARGUMENT…]
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* The three calls have the same numbers on every architecture but alpha. */
enum { FIRST = 425, LAST = 427 };

int main(int argc, char **argv)
{
    int error = 0;
    if (argc > 2 && strcmp(argv[1], "EPERM") == 0) error = EPERM;
    if (argc > 2 && strcmp(argv[1], "ENOSYS") == 0) error = ENOSYS;
    if (error == 0) {
        fprintf(stderr, "usage: %s EPERM|ENOSYS PROGRAM [ARGUMENT...]\n", argv[0]);
        return 2;
    }
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, FIRST, 0, 2),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, LAST, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    /* Without it only root may install a filter. */
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
        perror("deny-io-uring: prctl");
        return 126;
    }
    execvp(argv[2], argv + 2);
    perror("deny-io-uring: exec");
    return 127;
}
