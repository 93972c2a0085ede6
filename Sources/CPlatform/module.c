// The target needs one translation unit; everything else is `static inline` in the headers.
#include "CPlatform.h"
