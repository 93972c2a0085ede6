// What cannot be `static inline` in a header: glibc hides it unless _GNU_SOURCE is set, which Swift's importer does not.
#include "CPlatform.h"

int tl_spawn_close_from(posix_spawn_file_actions_t *actions, int first) {
    return posix_spawn_file_actions_addclosefrom_np(actions, first);
}
