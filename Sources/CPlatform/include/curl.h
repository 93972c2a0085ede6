// libcurl: curl_easy_setopt, curl_multi_setopt and curl_easy_getinfo are variadic and not imported by Swift. One typed
// wrapper per kind of value, so that a wrong type is a compile error and not a crash.
#pragma once
#include <curl/curl.h>

// CURLOPT_QUICK_EXIT (7.87) is the newest option used: without it a transfer that is cancelled while its name is being
// resolved blocks the calling thread until the resolver is done.
#if LIBCURL_VERSION_NUM < 0x075700
#error "libcurl 7.87 or newer is needed"
#endif

// Enumerators in some versions of libcurl, macros in others, which Swift imports as other types.
static const long tl_curl_http_1_1 = CURL_HTTP_VERSION_1_1;
static const long tl_curl_tls_1_2 = CURL_SSLVERSION_TLSv1_2;
static const long tl_curl_netrc_ignored = CURL_NETRC_IGNORED;

typedef size_t (*tl_curl_write_fn)(char *data, size_t size, size_t count, void *context);
typedef size_t (*tl_curl_read_fn)(char *data, size_t size, size_t count, void *context);
typedef int (*tl_curl_prereq_fn)(void *context, char *peer, char *local, int peer_port, int local_port);
typedef curl_socket_t (*tl_curl_open_fn)(void *context, curlsocktype purpose, struct curl_sockaddr *address);
typedef int (*tl_curl_close_fn)(void *context, curl_socket_t descriptor);
typedef int (*tl_curl_socket_fn)(CURL *easy, curl_socket_t descriptor, int what, void *context, void *socket_context);
typedef int (*tl_curl_timer_fn)(CURLM *multi, long milliseconds, void *context);

// curl_easy_setopt, by kind of value.
static inline CURLcode tl_curl_set_long(CURL *easy, CURLoption option, long value) {
    return curl_easy_setopt(easy, option, value);
}
static inline CURLcode tl_curl_set_string(CURL *easy, CURLoption option, const char *value) {
    return curl_easy_setopt(easy, option, value);
}
static inline CURLcode tl_curl_set_pointer(CURL *easy, CURLoption option, void *value) {
    return curl_easy_setopt(easy, option, value);
}
static inline CURLcode tl_curl_set_headers(CURL *easy, struct curl_slist *list) {
    return curl_easy_setopt(easy, CURLOPT_HTTPHEADER, list);
}
static inline CURLcode tl_curl_set_connect_to(CURL *easy, struct curl_slist *list) {
    return curl_easy_setopt(easy, CURLOPT_CONNECT_TO, list);
}
// The body is copied, and its size is told first: COPYPOSTFIELDS reads that many bytes. NULL would mean "ask the read
// callback", so that an empty body still needs an address.
static inline CURLcode tl_curl_set_body(CURL *easy, const void *bytes, size_t count) {
    CURLcode code = curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)count);
    if (code != CURLE_OK) return code;
    return curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, count == 0 ? "" : bytes);
}
static inline CURLcode tl_curl_set_write(CURL *easy, tl_curl_write_fn function, void *context) {
    CURLcode code = curl_easy_setopt(easy, CURLOPT_WRITEDATA, context);
    return code != CURLE_OK ? code : curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, function);
}
static inline CURLcode tl_curl_set_header_line(CURL *easy, tl_curl_write_fn function, void *context) {
    CURLcode code = curl_easy_setopt(easy, CURLOPT_HEADERDATA, context);
    return code != CURLE_OK ? code : curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, function);
}
static inline CURLcode tl_curl_set_read(CURL *easy, tl_curl_read_fn function) {
    return curl_easy_setopt(easy, CURLOPT_READFUNCTION, function);
}
static inline CURLcode tl_curl_set_prereq(CURL *easy, tl_curl_prereq_fn function, void *context) {
    CURLcode code = curl_easy_setopt(easy, CURLOPT_PREREQDATA, context);
    return code != CURLE_OK ? code : curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, function);
}
static inline CURLcode tl_curl_set_open(CURL *easy, tl_curl_open_fn function, void *context) {
    CURLcode code = curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, context);
    return code != CURLE_OK ? code : curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, function);
}
static inline CURLcode tl_curl_set_close(CURL *easy, tl_curl_close_fn function, void *context) {
    CURLcode code = curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, context);
    return code != CURLE_OK ? code : curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, function);
}

// curl_easy_getinfo, by kind of value.
static inline CURLcode tl_curl_get_status(CURL *easy, long *status) {
    return curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, status);
}
static inline CURLcode tl_curl_get_errno(CURL *easy, long *number) {
    return curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, number);
}
static inline CURLcode tl_curl_get_private(CURL *easy, void **context) {
    return curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)context);
}

// curl_multi_setopt, by kind of value.
static inline CURLMcode tl_curl_multi_set_long(CURLM *multi, CURLMoption option, long value) {
    return curl_multi_setopt(multi, option, value);
}
static inline CURLMcode tl_curl_multi_set_socket(CURLM *multi, tl_curl_socket_fn function, void *context) {
    CURLMcode code = curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, context);
    return code != CURLM_OK ? code : curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, function);
}
static inline CURLMcode tl_curl_multi_set_timer(CURLM *multi, tl_curl_timer_fn function, void *context) {
    CURLMcode code = curl_multi_setopt(multi, CURLMOPT_TIMERDATA, context);
    return code != CURLM_OK ? code : curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, function);
}

// The result lies in a union without a name.
static inline CURLcode tl_curl_message_result(const CURLMsg *message) { return message->data.result; }

// SIG_IGN is a cast macro that Swift does not import. OpenSSL writes with write(2), so that a peer that went away would
// end the process; libcurl leaves that to the program once CURLOPT_NOSIGNAL is set.
#include <signal.h>
static inline void tl_ignore_sigpipe(void) { signal(SIGPIPE, SIG_IGN); }
