// libpq. Debian keeps its headers in a folder of their own.
#pragma once
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <postgresql/libpq-fe.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

// The PG_DIAG_* field codes are character macros, which Swift does not import.
enum {
    tl_pg_severity = PG_DIAG_SEVERITY_NONLOCALIZED,
    tl_pg_sqlstate = PG_DIAG_SQLSTATE,
    tl_pg_message = PG_DIAG_MESSAGE_PRIMARY,
    tl_pg_constraint = PG_DIAG_CONSTRAINT_NAME,
    tl_pg_position = PG_DIAG_STATEMENT_POSITION,
};

static inline void tl_pg_ignore_notice(void *context, const PGresult *result) {
    (void)context;
    (void)result;
}

// libpq prints notices to stderr by default, with customers' values in them; and a NULL receiver means "keep the present
// one", so silence needs a function.
static inline void tl_pg_silence(PGconn *connection) { PQsetNoticeReceiver(connection, tl_pg_ignore_notice, NULL); }

// What a server says before it hangs up on an idle connection reaches the client as a notice.
typedef struct {
    char sqlstate[6];
    char message[256];
} tl_pg_last_words;

static inline void tl_pg_note_last_words(void *context, const PGresult *result) {
    tl_pg_last_words *words = context;
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    if (severity == NULL || (strcmp(severity, "FATAL") != 0 && strcmp(severity, "PANIC") != 0)) return;
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    if (sqlstate == NULL || message == NULL) return;
    strncpy(words->sqlstate, sqlstate, sizeof words->sqlstate - 1);
    strncpy(words->message, message, sizeof words->message - 1);
}

// `words` must live until PQfinish.
static inline void tl_pg_keep_last_words(PGconn *connection, tl_pg_last_words *words) {
    PQsetNoticeReceiver(connection, tl_pg_note_last_words, words);
}

// Whether the peer reset or closed both directions.
static inline int tl_pg_is_hung_up(int descriptor) {
    struct pollfd one = {.fd = descriptor, .events = 0, .revents = 0};
    return poll(&one, 1, 0) > 0 && (one.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0;
}

// Whether `text` names this machine's loopback: localhost, 127.0.0.0/8 or ::1.
static inline int tl_is_loopback(const char *text) {
    struct in_addr four;
    struct in6_addr six;
    if (strcasecmp(text, "localhost") == 0) return 1;
    if (inet_pton(AF_INET, text, &four) == 1) return ntohl(four.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, text, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

// Whether `text` is an address that getaddrinfo need not look up.
static inline int tl_is_address(const char *text) {
    unsigned char scratch[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, text, scratch) == 1 || inet_pton(AF_INET6, text, scratch) == 1;
}

// Blocks. Writes the addresses of `host`, separated by commas, to `out`; 0 or a getaddrinfo code. In C because the
// address structures are unions behind casts.
static inline int tl_resolve(const char *host, char *out, size_t capacity) {
    struct addrinfo hints, *list = NULL;
    memset(&hints, 0, sizeof hints);
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_ADDRCONFIG;
    out[0] = 0;
    int code = getaddrinfo(host, NULL, &hints, &list);
    if (code != 0) return code;
    size_t used = 0;
    for (struct addrinfo *each = list; each != NULL; each = each->ai_next) {
        char text[NI_MAXHOST];
        if (getnameinfo(each->ai_addr, each->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST) != 0) continue;
        size_t length = strlen(text);
        if (used + length + 2 > capacity) break;
        if (used > 0) out[used++] = ',';
        memcpy(out + used, text, length + 1);
        used += length;
    }
    freeaddrinfo(list);
    return used > 0 ? 0 : EAI_NONAME;
}
