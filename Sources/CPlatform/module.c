// What cannot be `static inline` in a header: glibc hides it unless _GNU_SOURCE is set, which Swift's importer does not.
#include "CPlatform.h"

#include <fcntl.h>

int tl_spawn_close_from(posix_spawn_file_actions_t *actions, int first) {
    return posix_spawn_file_actions_addclosefrom_np(actions, first);
}

static int stop_pipe[2] = {-1, -1};

// Only what a handler may do: errno is the interrupted code's.
static void note_stop(int signal) {
    int kept = errno;
    unsigned char byte = (unsigned char)signal;
    ssize_t written = write(stop_pipe[1], &byte, 1);
    (void)written;  // A full pipe holds enough of them.
    errno = kept;
}

static void set_stop_handlers(void (*handler)(int)) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
}

int tl_stop_signals_catch(void) {
    if (stop_pipe[0] >= 0) return stop_pipe[0];
    if (pipe2(stop_pipe, O_CLOEXEC) != 0) return -1;
    fcntl(stop_pipe[1], F_SETFL, O_NONBLOCK);
    set_stop_handlers(note_stop);
    // Whoever started us may have blocked them, as test runners do.
    sigset_t both;
    sigemptyset(&both);
    sigaddset(&both, SIGTERM);
    sigaddset(&both, SIGINT);
    pthread_sigmask(SIG_UNBLOCK, &both, NULL);
    return stop_pipe[0];
}

void tl_stop_signals_release(void) { set_stop_handlers(SIG_DFL); }
