// What ThreadSanitizer cannot see of Swift's runtime, told to it. The libraries of the toolchain are not built for it, so that
// it misses the order that they make between threads, and reports correct programs. Here are the missing edges, so that nothing
// need be suppressed; they hide no race, because each is an order that is really there.
//
// - A Mutex that two threads want at once: taking and giving it back happen in the library. (The fast path is compiled into
//   whoever uses it, and is seen.)
// - A continuation that is resumed before its task waits: the task goes on at once, and the library says nothing. It did say
//   at the resumption that it releases the task; whoever awaited gives the memory of the call back right after.
//
// Only in builds for that sanitizer. The names are those of the Swift release that `dev` asks for. If a newer one renames
// them, nothing calls these functions, and EventLoopTests is reported.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)

#include <dlfcn.h>
#include <sanitizer/tsan_interface.h>
#include <stdint.h>

#define SWIFT __attribute__((swiftcall))
#define SELF __attribute__((swift_context)) void *

// Synchronization._MutexHandle._lockSlow(UInt32), which gets the number of the thread, and ._unlockSlow()
#define LOCK "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define UNLOCK "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"
#define DEALLOCATE "swift_task_dealloc"

static SWIFT void (*next_lock)(uint32_t, SELF);
static SWIFT void (*next_unlock)(SELF);
static SWIFT void (*next_deallocate)(void *);
SWIFT void *swift_task_getCurrent(void);

__attribute__((constructor)) static void find_libraries(void) {
    next_lock = (SWIFT void (*)(uint32_t, SELF))dlsym(RTLD_NEXT, LOCK);
    next_unlock = (SWIFT void (*)(SELF))dlsym(RTLD_NEXT, UNLOCK);
    next_deallocate = (SWIFT void (*)(void *))dlsym(RTLD_NEXT, DEALLOCATE);
}

SWIFT void tl_mutex_lock_slow(uint32_t thread, SELF mutex) __asm__(LOCK);
SWIFT void tl_mutex_lock_slow(uint32_t thread, SELF mutex) {
    next_lock(thread, mutex);
    __tsan_acquire(mutex);
}

SWIFT void tl_mutex_unlock_slow(SELF mutex) __asm__(UNLOCK);
SWIFT void tl_mutex_unlock_slow(SELF mutex) {
    __tsan_release(mutex);
    next_unlock(mutex);
}

SWIFT void tl_task_deallocate(void *memory) __asm__(DEALLOCATE);
SWIFT void tl_task_deallocate(void *memory) {
    next_deallocate(memory);
    void *task = swift_task_getCurrent();
    if (task) __tsan_acquire(task);
}

#endif
#endif
