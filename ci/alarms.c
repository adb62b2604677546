/* Interrupts every thread that has a ring a thousand times a second.
 *
 *     cc -shared -fPIC -O2 -o alarms.so ci/alarms.c
 *     LD_PRELOAD=$PWD/alarms.so PROGRAM...
 *
 * A thread that calls io_uring_setup gets a timer of its own, which sends it SIGALRM until it ends.
 * The handler only counts, but it is there, and without SA_RESTART: system calls that wait end with
 * EINTR. Other threads are left alone: they play the peers. A program that ends says on stderr how
 * many signals it got. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static atomic_ulong alarms;

static void count(int signal) {
    (void)signal;
    atomic_fetch_add_explicit(&alarms, 1, memory_order_relaxed);
}

static void start_timer(void) {
    struct sigevent event;
    struct itimerspec every = {{0, 1000000}, {0, 1000000}};
    timer_t timer;
    memset(&event, 0, sizeof event);
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = SIGALRM;
    event.sigev_notify_thread_id = gettid();
    /* The timer of a thread that has ended sends to nobody; it goes with the process. */
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 ||
        timer_settime(timer, 0, &every, NULL) != 0) {
        perror("alarms: timer");
        _exit(125);
    }
}

static void report(void) {
    fprintf(stderr, "alarms: %lu\n", atomic_load(&alarms));
}

__attribute__((constructor)) static void begin(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = count;
    sigaction(SIGALRM, &action, NULL);
    atexit(report);
}

/* The crate that makes rings calls the kernel through this function. */
long syscall(long number, ...) {
    static long (*next)(long, ...);
    static _Thread_local int started;
    long arguments[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++)
        arguments[i] = va_arg(list, long);
    va_end(list);
    if (next == NULL)
        *(void **)&next = dlsym(RTLD_NEXT, "syscall");
    if (number == SYS_io_uring_setup && !started) {
        started = 1;
        start_timer();
    }
    return next(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4],
                arguments[5]);
}
