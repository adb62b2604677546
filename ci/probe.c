/*
 * Tries each io_uring feature that corering uses and prints one `key=value` a line: `yes`, `no`, or
 * the name of the errno that stood in the way. A key that is not printed could not be tried.
 *
 *     cc -O1 -o probe ci/probe.c && ./probe [SQ CQ BUFFERS]
 *
 * SQ, CQ and BUFFERS are the entries of one core's rings: the largest ring that fits is reported.
 * The kernel's interface is written out here, since the headers of a machine may be older than its
 * kernel: include/uapi/linux/io_uring.h is where the numbers are from.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { SYS_SETUP = 425, SYS_ENTER = 426, SYS_REGISTER = 427 };
enum { CQSIZE = 1 << 3, CLAMP = 1 << 4, R_DISABLED = 1 << 6, SUBMIT_ALL = 1 << 7,
       COOP_TASKRUN = 1 << 8, TASKRUN_FLAG = 1 << 9, SINGLE_ISSUER = 1 << 12,
       DEFER_TASKRUN = 1 << 13, NO_SQARRAY = 1 << 16 };
enum { FEAT_NODROP = 1 << 1, FEAT_EXT_ARG = 1 << 8, FEAT_CQE_SKIP = 1 << 11,
       FEAT_NO_IOWAIT = 1 << 17 };
enum { REGISTER_PROBE = 8, REGISTER_RESTRICTIONS = 11, REGISTER_ENABLE_RINGS = 12,
       REGISTER_IOWQ_MAX_WORKERS = 19, REGISTER_RING_FDS = 20, REGISTER_PBUF_RING = 22,
       REGISTER_SEND_MSG_RING = 31, PBUF_RING_INC = 2 };
enum { OP_ACCEPT = 13, OP_ASYNC_CANCEL = 14, OP_RECV = 27, OP_MSG_RING = 40 };

struct params {
    uint32_t sq_entries, cq_entries, flags, sq_thread_cpu, sq_thread_idle, features, wq_fd, resv[3];
    struct { uint32_t head, tail, mask, entries, flags, dropped, array, resv; uint64_t addr; } sq;
    struct { uint32_t head, tail, mask, entries, overflow, cqes, flags, resv; uint64_t addr; } cq;
};
struct sqe {
    uint8_t opcode, flags;
    uint16_t ioprio;
    int32_t fd;
    uint64_t off, addr;
    uint32_t len, op_flags;
    uint64_t user_data, rest[3];
};
struct cqe { uint64_t user_data; int32_t res; uint32_t flags; };
struct buffer_ring { uint64_t addr; uint32_t entries; uint16_t group, flags; uint64_t resv[3]; };

static const struct { uint8_t code; const char *key; } OPCODES[] = {
    {0, "nop"}, {3, "fsync"}, {6, "poll_add"}, {9, "sendmsg"}, {10, "recvmsg"}, {13, "accept"},
    {14, "async_cancel"}, {16, "connect"}, {18, "openat"}, {19, "close"}, {21, "statx"},
    {22, "read"}, {23, "write"}, {26, "send"}, {27, "recv"}, {35, "renameat"}, {36, "unlinkat"},
    {37, "mkdirat"}, {40, "msg_ring"}, {47, "send_zc"}, {55, "ftruncate"},
};

static const char *errno_name(int error)
{
    static char number[16];
    switch (error) {
    case EPERM: return "EPERM";
    case EACCES: return "EACCES";
    case ENOSYS: return "ENOSYS";
    case ENOMEM: return "ENOMEM";
    case EMFILE: return "EMFILE";
    case ENFILE: return "ENFILE";
    case EINVAL: return "no";
    }
    snprintf(number, sizeof number, "errno %d", error);
    return number;
}

static void say(const char *key, int yes) { printf("%s=%s\n", key, yes ? "yes" : "no"); }

static int setup(unsigned sq, unsigned cq, unsigned flags, struct params *p)
{
    memset(p, 0, sizeof *p);
    p->flags = flags;
    p->cq_entries = flags & CQSIZE ? cq : 0;
    return syscall(SYS_SETUP, sq, p);
}

/* A kernel checks the flags before it takes memory: any answer but EINVAL says it knows them. */
static int knows(unsigned flags)
{
    struct params p;
    int fd = setup(2, 8, flags, &p);
    int known = fd >= 0 || errno != EINVAL;
    if (fd >= 0) close(fd);
    return known;
}

/* One core's ring, halved until it fits. Memory of a ring that is gone comes back 20 ms late. */
static void try_sizes(unsigned sq, unsigned cq, unsigned flags)
{
    struct params p;
    for (; sq >= 32; sq /= 2, cq /= 2) {
        for (int attempt = 0; attempt < 5; attempt++, usleep(20000)) {
            int fd = setup(sq, cq, flags, &p);
            if (fd >= 0) {
                printf("ring=%u/%u\n", sq, cq);
                close(fd);
                return;
            }
            if (errno != ENOMEM) return;
        }
    }
    printf("ring=ENOMEM\n");
}

/* Submits one entry. The result of its completion, or 1 if it is still under way. */
static int try_op(int ring, const struct params *p, struct sqe sqe)
{
    size_t sq_size = p->sq.array + p->sq_entries * sizeof(uint32_t);
    size_t cq_size = p->cq.cqes + p->cq_entries * sizeof(struct cqe);
    int shared = PROT_READ | PROT_WRITE;
    char *sq = mmap(0, sq_size, shared, MAP_SHARED, ring, 0);
    char *cq = mmap(0, cq_size, shared, MAP_SHARED, ring, 0x8000000);
    struct sqe *sqes = mmap(0, p->sq_entries * sizeof sqe, shared, MAP_SHARED, ring, 0x10000000);
    if (sq == MAP_FAILED || cq == MAP_FAILED || sqes == MAP_FAILED) return -errno;
    uint32_t *sq_tail = (uint32_t *)(sq + p->sq.tail), *cq_head = (uint32_t *)(cq + p->cq.head);
    uint32_t slot = *sq_tail & (p->sq_entries - 1);
    sqe.user_data = *sq_tail + 1;
    sqes[slot] = sqe;
    ((uint32_t *)(sq + p->sq.array))[slot] = slot;
    __atomic_store_n(sq_tail, *sq_tail + 1, __ATOMIC_RELEASE);
    if (syscall(SYS_ENTER, ring, 1, 0, 0, NULL, 0) < 0) return -errno;
    int result = 1;
    while (*cq_head != __atomic_load_n((uint32_t *)(cq + p->cq.tail), __ATOMIC_ACQUIRE)) {
        struct cqe *cqe = (struct cqe *)(cq + p->cq.cqes) + (*cq_head & (p->cq_entries - 1));
        if (cqe->user_data == sqe.user_data) result = cqe->res;
        __atomic_store_n(cq_head, *cq_head + 1, __ATOMIC_RELEASE);
    }
    munmap(sq, sq_size), munmap(cq, cq_size), munmap(sqes, p->sq_entries * sizeof sqe);
    return result;
}

/* 0 or the errno. */
static int buffer_ring(int ring, unsigned entries, unsigned group, unsigned flags)
{
    int anonymous = MAP_PRIVATE | MAP_ANONYMOUS;
    struct buffer_ring reg = {.entries = entries, .group = group, .flags = flags};
    reg.addr = (uintptr_t)mmap(0, entries * 16, PROT_READ | PROT_WRITE, anonymous, -1, 0);
    return syscall(SYS_REGISTER, ring, REGISTER_PBUF_RING, &reg, 1) ? errno : 0;
}

static void try_opcodes(int ring)
{
    struct { uint8_t last, len; uint16_t resv; uint32_t rest[3];
             struct { uint8_t op, resv; uint16_t flags; uint32_t rest; } ops[256]; } probe = {0};
    int probed = syscall(SYS_REGISTER, ring, REGISTER_PROBE, &probe, 256) == 0;
    for (size_t i = 0; i < sizeof OPCODES / sizeof *OPCODES; i++) {
        int supported = probed && probe.ops[OPCODES[i].code].flags & 1;
        printf("op_%s=%s\n", OPCODES[i].key, supported ? "yes" : "no");
    }
}

/* A ring that may do NOP and nothing else. */
static void try_restrictions(void)
{
    struct { uint16_t kind; uint8_t code, resv; uint32_t rest[3]; } only_nop = {.kind = 1};
    struct params p;
    int ring = setup(2, 0, R_DISABLED, &p);
    if (ring < 0 && errno == ENOMEM) return;
    int restricted = ring >= 0 &&
        syscall(SYS_REGISTER, ring, REGISTER_RESTRICTIONS, &only_nop, 1) == 0 &&
        syscall(SYS_REGISTER, ring, REGISTER_ENABLE_RINGS, NULL, 0) == 0;
    say("restrictions", restricted);
    if (ring >= 0) close(ring);
}

/* A message to a ring from a thread that has none. There since 6.13, used since 6.16. */
static void try_message(int ring)
{
    struct utsname name;
    unsigned major = 0, minor = 0;
    struct sqe message = {.opcode = OP_MSG_RING, .fd = ring};
    int known = uname(&name) == 0 && sscanf(name.release, "%u.%u", &major, &minor) == 2 &&
        (major > 6 || (major == 6 && minor >= 16));
    int sent = known ? syscall(SYS_REGISTER, -1, REGISTER_SEND_MSG_RING, &message, 1) : -1;
    say("send_msg_ring", sent == 0);
}

/* `buffers` is the errno of registering a buffer ring, 0 if there is one. */
static void try_multishot(int ring, const struct params *p, int buffers)
{
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), pair[2];
    struct sockaddr any_name = {.sa_family = AF_UNIX};
    if (bind(listener, &any_name, sizeof any_name.sa_family) || listen(listener, 1)) return;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) return;
    struct sqe accept = {.opcode = OP_ACCEPT, .ioprio = 1, .fd = listener};
    say("accept_multishot", try_op(ring, p, accept) == 1);
    /* Kernels without buffer rings do not look at the flag, so their answer would say nothing. */
    struct sqe recv = {.opcode = OP_RECV, .ioprio = 2, .flags = 1 << 5, .fd = pair[0]};
    int result = buffers == 0 ? try_op(ring, p, recv) : -EINVAL;
    if (buffers == 0 || buffers == EINVAL)
        say("recv_multishot", result == 1 || result == -ENOBUFS);
    struct sqe cancel_all = {.opcode = OP_ASYNC_CANCEL, .op_flags = 1 | 4};
    result = try_op(ring, p, cancel_all);
    say("cancel_any", result >= 0 || result == -ENOENT);
}

int main(int argc, char **argv)
{
    unsigned sq = argc > 1 ? atoi(argv[1]) : 256, cq = argc > 2 ? atoi(argv[2]) : 2048;
    unsigned buffers = argc > 3 ? atoi(argv[3]) : 256;
    struct params p;
    int ring = setup(8, 0, 0, &p);
    for (int attempt = 0; ring < 0 && errno == ENOMEM && attempt < 5; attempt++, usleep(20000))
        ring = setup(8, 0, 0, &p);
    printf("setup=%s\n", ring >= 0 ? "yes" : errno_name(errno));
    if (ring < 0 && errno != ENOMEM) return 0;

    say("cqsize", knows(CQSIZE));
    say("clamp", knows(CLAMP));
    say("submit_all", knows(SUBMIT_ALL));
    say("taskrun_flag", knows(COOP_TASKRUN | TASKRUN_FLAG));
    say("single_issuer", knows(SINGLE_ISSUER));
    say("defer_taskrun", knows(SINGLE_ISSUER | DEFER_TASKRUN));
    say("no_sqarray", knows(NO_SQARRAY));
    unsigned deferred = knows(SINGLE_ISSUER | DEFER_TASKRUN) ? SINGLE_ISSUER | DEFER_TASKRUN : 0;
    try_sizes(sq, cq, CQSIZE | CLAMP | deferred);
    if (ring < 0) return 0;

    say("nodrop", p.features & FEAT_NODROP);
    say("ext_arg", p.features & FEAT_EXT_ARG);
    say("cqe_skip", p.features & FEAT_CQE_SKIP);
    say("no_iowait", p.features & FEAT_NO_IOWAIT);
    try_restrictions();
    try_opcodes(ring);
    int plain = buffer_ring(ring, buffers, 0, 0);
    printf("pbuf_ring=%s\n", plain ? errno_name(plain) : "yes");
    int incremental = buffer_ring(ring, buffers, 1, PBUF_RING_INC);
    say("pbuf_ring_inc", incremental == 0 || incremental == ENOMEM);
    try_multishot(ring, &p, plain);
    try_message(ring);
    uint32_t workers[2] = {0, 0}; /* zeros ask and change nothing */
    int limits = syscall(SYS_REGISTER, ring, REGISTER_IOWQ_MAX_WORKERS, workers, 2);
    say("iowq_max_workers", limits == 0);
    struct { uint32_t offset, resv; uint64_t data; } index = {UINT32_MAX, 0, ring};
    say("ring_fds", syscall(SYS_REGISTER, ring, REGISTER_RING_FDS, &index, 1) == 1);
    return 0;
}
