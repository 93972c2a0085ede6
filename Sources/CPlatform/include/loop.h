// epoll and eventfd: not visible through Glibc's module map, and their flags are macros that Swift does not import.
#pragma once
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

enum {
    tl_epoll_in = EPOLLIN,
    tl_epoll_out = EPOLLOUT,
    tl_epoll_err = EPOLLERR,
    tl_epoll_hup = EPOLLHUP,
};

static inline int tl_epoll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }
static inline int tl_eventfd_create(void) { return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC); }

// Without a pointer at the border: an epoll_event holds one, and to Swift is unsafe whatever it is used for.
static inline int tl_epoll_set(int epoll, int operation, int descriptor, uint32_t events, uint64_t tag) {
    struct epoll_event event = {.events = events, .data.u64 = tag};
    return epoll_ctl(epoll, operation, descriptor, &event);
}

static inline void tl_eventfd_raise(int descriptor) { (void)!eventfd_write(descriptor, 1); }
static inline void tl_eventfd_lower(int descriptor) {
    eventfd_t value;
    (void)!eventfd_read(descriptor, &value);
}

// How many descriptors this process may have open; LONG_MAX when there is no limit. The kind of limit is an enumerator in
// C and another type in Swift's imports of setrlimit.
static inline long tl_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
    return limit.rlim_cur > (rlim_t)LONG_MAX ? LONG_MAX : (long)limit.rlim_cur;
}

// Sets the limit as high as this process may.
static inline void tl_descriptor_limit_raise(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

// Names the calling thread; the kernel keeps the first 15 bytes. pthread_setname_np hides behind _GNU_SOURCE.
static inline void tl_thread_set_name(const char *name) { prctl(PR_SET_NAME, name, 0, 0, 0); }

// A core file would hold whatever is in memory. The limit alone does not bind a core_pattern that is a pipe.
static inline int tl_forbid_cores(void) {
    struct rlimit none = {0, 0};
    return setrlimit(RLIMIT_CORE, &none) == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 ? 0 : -1;
}

// SIGTERM and SIGINT as bytes of a pipe, from this call on, whichever thread they reach. The pipe's reading end, or -1.
int tl_stop_signals_catch(void);
// Gives both their usual effect again.
void tl_stop_signals_release(void);

// Closes every descriptor from `first` on in a spawned child.
int tl_spawn_close_from(posix_spawn_file_actions_t *actions, int first);
