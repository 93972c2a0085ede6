#include "cphonenumber.h"

#include <cstring>
#include <exception>
#include <string>

#include <phonenumbers/phonenumberutil.h>

using i18n::phonenumbers::PhoneNumber;
using i18n::phonenumbers::PhoneNumberUtil;

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
    switch (util->IsPossibleNumberWithReason(number)) {
    case PhoneNumberUtil::IS_POSSIBLE: break;
    case PhoneNumberUtil::IS_POSSIBLE_LOCAL_ONLY: return tl_phone_local_only;
    case PhoneNumberUtil::INVALID_COUNTRY_CODE: return tl_phone_bad_country_code;
    case PhoneNumberUtil::TOO_SHORT: return tl_phone_too_short;
    case PhoneNumberUtil::INVALID_LENGTH: return tl_phone_bad_length;
    case PhoneNumberUtil::TOO_LONG: return tl_phone_too_long;
    }
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
