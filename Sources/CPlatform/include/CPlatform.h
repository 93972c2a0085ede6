// Every C header that a Swift target of this package uses, in one module: a C type belongs to whichever clang module
// includes its header first, so two modules that both reach <sys/time.h> do not agree on `timeval`.
#pragma once
#include "loop.h"
#include "rabbit.h"
#include "postgres.h"
#include "curl.h"
