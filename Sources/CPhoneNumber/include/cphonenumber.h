// libphonenumber is C++; this is all that Trunkline asks of it, as plain C. Thread-safe, keeps no state of its own.
#pragma once
#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum tl_phone_verdict {
    // The number exists in form: its country code is in use and its length is one that the country has.
    tl_phone_possible = 0,
    // Nothing that looks like a number.
    tl_phone_not_a_number = 1,
    // No country code that is in use, or none at all and no region to read the number by.
    tl_phone_bad_country_code = 2,
    tl_phone_too_short = 3,
    tl_phone_too_long = 4,
    // Between the country's shortest and longest, but no number of that length is given out.
    tl_phone_bad_length = 5,
    // Complete only within its own town: it lacks its area code.
    tl_phone_local_only = 6,
    // libphonenumber failed (out of memory); not a word about the number.
    tl_phone_internal = 7,
};

// Longest result: '+', 15 digits, NUL, and room for what libphonenumber lets through beyond E.164.
enum { tl_phone_capacity = 32 };

// Reads `length` bytes of UTF-8 as a number of `region` (two capital letters, or "ZZ" for none) and writes it in E.164,
// ended by NUL, to `e164` (tl_phone_capacity bytes) when the verdict is tl_phone_possible; else an empty string.
enum tl_phone_verdict tl_phone_parse(const char *text, size_t length, const char *region, char *e164);

// Whether `region` (two capital letters, ended by NUL) is one that libphonenumber knows.
bool tl_phone_region_known(const char *region);

#ifdef __cplusplus
}
#endif
