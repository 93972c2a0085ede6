// librabbitmq: what Swift cannot call or see by itself.
#pragma once
// librabbitmq 0.12 moved its headers; the old names warn.
#if __has_include(<rabbitmq-c/amqp.h>)
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/framing.h>
#include <rabbitmq-c/ssl_socket.h>
#include <rabbitmq-c/tcp_socket.h>
#else
#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>
#endif
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

// amqp_login_with_properties is variadic; PLAIN takes user and password.
static inline amqp_rpc_reply_t tl_amqp_login(amqp_connection_state_t state, const char *vhost, int channel_max,
                                             int frame_max, int heartbeat, const amqp_table_t *properties,
                                             const char *user, const char *password) {
    return amqp_login_with_properties(state, vhost, channel_max, frame_max, heartbeat, properties,
                                      AMQP_SASL_METHOD_PLAIN, user, password);
}

// The next frame if one is there; never waits. `timeval` stays on this side of the border.
static inline int tl_amqp_next_frame(amqp_connection_state_t state, amqp_frame_t *frame) {
    struct timeval zero = {0, 0};
    return amqp_simple_wait_frame_noblock(state, frame, &zero);
}

static inline int tl_amqp_open_socket(amqp_socket_t *socket, const char *host, int port, long milliseconds) {
    struct timeval limit = {milliseconds / 1000, (milliseconds % 1000) * 1000};
    return amqp_socket_open_noblock(socket, host, port, &limit);
}

static inline int tl_amqp_set_login_limit(amqp_connection_state_t state, long milliseconds) {
    struct timeval limit = {milliseconds / 1000, (milliseconds % 1000) * 1000};
    int status = amqp_set_handshake_timeout(state, &limit);
    return status == AMQP_STATUS_OK ? amqp_set_rpc_timeout(state, &limit) : status;
}

// fcntl is variadic. The copy is ours to watch, to shut down and to close, whatever the library does with its own.
static inline int tl_amqp_duplicate(int descriptor) { return fcntl(descriptor, F_DUPFD_CLOEXEC, 0); }

static inline int tl_amqp_set_user_timeout(int descriptor, unsigned int milliseconds) {
    return setsockopt(descriptor, IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds, sizeof(milliseconds));
}

// 1 when bytes can be written or the socket is broken (a write will say so), 0 when its buffer is full.
static inline int tl_amqp_writable(int descriptor) {
    struct pollfd entry = {descriptor, POLLOUT, 0};
    return poll(&entry, 1, 0) != 0;
}

// amqp_send_frame for the one frame that has no method.
static inline int tl_amqp_send_heartbeat(amqp_connection_state_t state) {
    amqp_frame_t frame;
    frame.frame_type = AMQP_FRAME_HEARTBEAT;
    frame.channel = 0;
    return amqp_send_frame(state, &frame);
}
