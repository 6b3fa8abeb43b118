/* Preloaded into a program of tests/faults/test_clock.py: a system clock that the program can set. */
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long long ahead; /* nanoseconds */

void set_clock_ahead(long long nanoseconds) { __atomic_store_n(&ahead, nanoseconds, __ATOMIC_SEQ_CST); }

int clock_gettime(clockid_t clock, struct timespec* now) {
    const int status = (int)syscall(SYS_clock_gettime, clock, now);
    if (status == 0 && clock == CLOCK_REALTIME) {
        const long long total = now->tv_nsec + __atomic_load_n(&ahead, __ATOMIC_SEQ_CST);
        now->tv_sec += total / 1000000000;
        now->tv_nsec = total % 1000000000;
        if (now->tv_nsec < 0) {
            now->tv_nsec += 1000000000;
            now->tv_sec -= 1;
        }
    }
    return status;
}
