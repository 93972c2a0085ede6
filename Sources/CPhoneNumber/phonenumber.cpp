#include "cphonenumber.h"

#include <cstring>
#include <exception>
#include <string>

#include <phonenumbers/phonenumberutil.h>

using i18n::phonenumbers::PhoneNumber;
using i18n::phonenumbers::PhoneNumberUtil;

// A country that changed its plan while people write both forms, of which the tables know only one, depending on their age.
struct ChangedPlan {
    int country_code;
    // What stands before the form that every table knows.
    const char *prefix;
    size_t known_length;
    // Whether the prefix is part of the number by now; else it no longer is.
    bool belongs;
};

static const ChangedPlan changed_plans[] = {
    // Mexico, 2019: the 1 of mobile numbers dialled from abroad and the prefixes within the country.
    {52, "1", 10, false},
    {52, "01", 10, false},
    {52, "044", 10, false},
    {52, "045", 10, false},
    // Benin, 2024: ten digits instead of eight.
    {229, "01", 8, true},
};

// Whether the number is possible in the form that the tables know; it then holds what to dial.
static bool is_possible_by_a_changed_plan(const PhoneNumberUtil *util, PhoneNumber *number) {
    std::string digits;
    util->GetNationalSignificantNumber(*number, &digits);
    for (const ChangedPlan &plan : changed_plans) {
        const size_t length = std::strlen(plan.prefix);
        if (number->country_code() != plan.country_code || digits.size() != length + plan.known_length ||
            digits.compare(0, length, plan.prefix) != 0) {
            continue;
        }
        PhoneNumber known;
        known.set_country_code(plan.country_code);
        known.set_national_number(std::stoull(digits.substr(length)));
        if (util->IsPossibleNumberWithReason(known) != PhoneNumberUtil::IS_POSSIBLE) continue;
        if (!plan.belongs) *number = known;
        return true;
    }
    return false;
}

static tl_phone_verdict verdict_of(const PhoneNumberUtil *util, PhoneNumber *number) {
    const PhoneNumberUtil::ValidationResult result = util->IsPossibleNumberWithReason(*number);
    if (result != PhoneNumberUtil::IS_POSSIBLE && is_possible_by_a_changed_plan(util, number)) return tl_phone_possible;
    switch (result) {
    case PhoneNumberUtil::IS_POSSIBLE: break;
    case PhoneNumberUtil::IS_POSSIBLE_LOCAL_ONLY: return tl_phone_local_only;
    case PhoneNumberUtil::INVALID_COUNTRY_CODE: return tl_phone_bad_country_code;
    case PhoneNumberUtil::TOO_SHORT: return tl_phone_too_short;
    case PhoneNumberUtil::INVALID_LENGTH: return tl_phone_bad_length;
    case PhoneNumberUtil::TOO_LONG: return tl_phone_too_long;
    }
    return tl_phone_possible;
}

static tl_phone_verdict parse(const std::string &text, const std::string &region, char *e164) {
    const PhoneNumberUtil *util = PhoneNumberUtil::GetInstance();
    PhoneNumber number;
    switch (util->Parse(text, region, &number)) {
    case PhoneNumberUtil::NO_PARSING_ERROR: break;
    case PhoneNumberUtil::INVALID_COUNTRY_CODE_ERROR: return tl_phone_bad_country_code;
    case PhoneNumberUtil::NOT_A_NUMBER: return tl_phone_not_a_number;
    case PhoneNumberUtil::TOO_SHORT_AFTER_IDD: return tl_phone_too_short;
    case PhoneNumberUtil::TOO_SHORT_NSN: return tl_phone_too_short;
    case PhoneNumberUtil::TOO_LONG_NSN: return tl_phone_too_long;
    }
    // An extension cannot be reached by a message, and the number without it may be a company's switchboard.
    if (number.has_extension() && !number.extension().empty()) return tl_phone_not_a_number;
    const tl_phone_verdict verdict = verdict_of(util, &number);
    if (verdict != tl_phone_possible) return verdict;
    std::string formatted;
    util->Format(number, PhoneNumberUtil::E164, &formatted);
    if (formatted.size() >= static_cast<size_t>(tl_phone_capacity)) return tl_phone_too_long;
    std::memcpy(e164, formatted.c_str(), formatted.size() + 1);
    return tl_phone_possible;
}

extern "C" tl_phone_verdict tl_phone_parse(const char *text, size_t length, const char *region, char *e164) {
    e164[0] = 0;
    // An exception must not cross into Swift.
    try {
        return parse(std::string(text, length), region, e164);
    } catch (const std::exception &) {
        return tl_phone_internal;
    }
}

extern "C" bool tl_phone_region_known(const char *region) {
    try {
        return PhoneNumberUtil::GetInstance()->GetCountryCodeForRegion(region) != 0;
    } catch (const std::exception &) {
        return false;
    }
}
