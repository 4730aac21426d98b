/* Why an exchange ended as it did: one table for the engine, the image, the access log, the metrics and the documentation.
 *
 * X(NAME, name, status, side, retryable, text)
 *   name       what logs and metrics print
 *   status     what the client is answered when no response head was sent yet; 0: nothing, the connection is closed
 *   side       who caused it: FG_SIDE_NONE, _CLIENT, _GATEWAY (configuration, limits), _UPSTREAM
 *   retryable  the request never reached an application, so that another endpoint may be tried
 *
 * The parsers' errors follow (enum fg_parse_error); `fg_reason_of_parse` maps them behind FG_R_PARSE.
 */
#ifndef FG_REASONS_H
#define FG_REASONS_H

enum fg_side { FG_SIDE_NONE, FG_SIDE_CLIENT, FG_SIDE_GATEWAY, FG_SIDE_UPSTREAM };

#define FG_REASONS(X)                                                                                             \
    X(NONE, "", 0, NONE, 0, "nothing went wrong")                                                                 \
    X(NO_ROUTE, "no_route", 404, GATEWAY, 0, "no rule matches the request")                                       \
    X(NO_LISTENER, "no_listener", 404, GATEWAY, 0, "no listener of this socket serves the host")                  \
    X(NO_BACKENDS, "no_backends", 500, GATEWAY, 0, "the rule has no backend")                                     \
    X(INVALID_BACKEND, "invalid_backend", 500, GATEWAY, 0, "the chosen backend reference is not valid")           \
    X(UNSUPPORTED, "unsupported", 500, GATEWAY, 0, "the rule uses a field or filter that is not served")          \
    X(NO_ENDPOINTS, "no_endpoints", 503, GATEWAY, 0, "the chosen backend has no ready endpoint")                  \
    X(OVERLOADED, "overloaded", 503, GATEWAY, 0, "the worker's memory limit is reached")                          \
    X(UPSTREAM_LIMIT, "upstream_limit", 503, GATEWAY, 0, "the endpoint has as many connections as it may")        \
    X(LOOP, "loop", 508, CLIENT, 0, "the request passed this gateway three times (Via)")                          \
    X(BODY_TOO_LARGE, "body_too_large", 413, CLIENT, 0, "the request body is larger than the limit")              \
    X(FIRST_BYTE_TIMEOUT, "first_byte_timeout", 0, CLIENT, 0, "nothing arrived on a new connection in time")      \
    X(HEAD_TIMEOUT, "head_timeout", 408, CLIENT, 0, "the request head did not arrive in time")                    \
    X(BODY_TIMEOUT, "body_timeout", 408, CLIENT, 0, "the request body arrived more slowly than the minimum rate") \
    X(IDLE_TIMEOUT, "idle_timeout", 0, NONE, 0, "an idle connection was closed")                                  \
    X(CLIENT_RESET, "client_reset", 0, CLIENT, 0, "the client reset the connection")                              \
    X(CLIENT_CLOSED, "client_closed", 0, CLIENT, 0, "the client closed before its request was complete")          \
    X(CLIENT_SLOW, "client_slow", 0, CLIENT, 0, "the client read the response more slowly than the minimum rate") \
    X(BAD_REQUEST, "bad_request", 400, CLIENT, 0, "the request is malformed")                                     \
    X(BAD_EXPECT, "bad_expect", 417, CLIENT, 0, "an expectation other than 100-continue")                         \
    X(BAD_CONNECT, "connect_refused_here", 501, CLIENT, 0, "CONNECT is not served")                               \
    X(MISDIRECTED, "misdirected", 421, CLIENT, 0, "the request is not for this connection")                       \
    X(CONNECT_FAILED, "connect_failed", 502, UPSTREAM, 1, "the endpoint could not be connected")                  \
    X(CONNECT_TIMEOUT, "connect_timeout", 504, UPSTREAM, 1, "the endpoint did not accept, or end its handshake, in time") \
    X(UPSTREAM_RESET, "upstream_reset", 502, UPSTREAM, 0, "the endpoint reset the connection")                    \
    X(UPSTREAM_CLOSED, "upstream_closed", 502, UPSTREAM, 0, "the endpoint closed before its response was whole")  \
    X(UPSTREAM_STALE, "upstream_stale", 502, UPSTREAM, 1, "a reused connection was closed before any response")   \
    X(BAD_RESPONSE, "bad_response", 502, UPSTREAM, 0, "the endpoint's response is malformed")                     \
    X(UNASKED_UPGRADE, "unasked_upgrade", 502, UPSTREAM, 0, "101 without a matching request to upgrade")          \
    X(TOO_MANY_INTERIM, "too_many_interim", 502, UPSTREAM, 0, "more interim responses than the limit")            \
    X(RESPONSE_TIMEOUT, "response_timeout", 504, UPSTREAM, 0, "the response head did not arrive in time")         \
    X(STREAM_IDLE, "stream_idle_timeout", 504, UPSTREAM, 0, "nothing more of the response came in time")           \
    X(BACKEND_TIMEOUT, "backend_timeout", 504, UPSTREAM, 0, "the rule's backendRequest timeout")                  \
    X(REQUEST_TIMEOUT, "request_timeout", 504, UPSTREAM, 0, "the rule's request timeout")                         \
    X(HEAD_TOO_LONG_TO_SEND, "head_too_large_to_send", 500, GATEWAY, 0, "the edited head is larger than a buffer") \
    X(DRAIN_TIMEOUT, "drain_timeout", 503, GATEWAY, 0, "the drain's time was over")                              \
    X(INVALID_FILTER, "invalid_filter", 500, GATEWAY, 0, "a filter of the rule does not exist or is not accepted") \
    X(FILTER_FAILED, "filter_failed", 500, GATEWAY, 0, "a filter raised an exception or gave what it may not")   \
    X(FILTER_TIMEOUT, "filter_timeout", 504, GATEWAY, 0, "a filter did not answer in time, or nobody ran it")    \
    X(FILTER_REPLY, "filter_reply", 0, NONE, 0, "a filter answered")                                             \
    X(FILTER_OVERLOADED, "filter_overloaded", 503, GATEWAY, 0, "the queue of calls to filters is full")           \
    X(FILTER_OPEN, "filter_open", 503, GATEWAY, 0, "a filter gets no calls for a while: it was fatal again and again") \
    X(HELLO_TIMEOUT, "hello_timeout", 0, CLIENT, 0, "the ClientHello, or PROXY protocol header, did not arrive in time") \
    X(BAD_HELLO, "bad_hello", 0, CLIENT, 0, "what began the connection is no ClientHello, or a malformed one")    \
    X(BAD_PROXY_HEADER, "bad_proxy_header", 0, CLIENT, 0, "the connection began without a sound PROXY protocol header") \
    X(UNKNOWN_SERVER_NAME, "unknown_server_name", 0, CLIENT, 0, "no listener or route of this socket has the server name") \
    X(HANDSHAKE_TIMEOUT, "handshake_timeout", 0, CLIENT, 0, "the TLS handshake did not end in time")              \
    X(HANDSHAKE_FAILED, "handshake_failed", 0, CLIENT, 0, "the TLS handshake failed")                             \
    X(CLIENT_UNVERIFIED, "client_unverified", 0, CLIENT, 0, "the client's certificate is missing or was not verified") \
    X(UPSTREAM_HANDSHAKE, "upstream_handshake", 502, UPSTREAM, 1, "the TLS handshake with the endpoint failed")   \
    X(UPSTREAM_UNVERIFIED, "upstream_unverified", 502, UPSTREAM, 1, "the endpoint's certificate was not verified") \
    X(RELAY_IDLE, "relay_idle", 0, NONE, 0, "nothing passed in either direction for too long") \
    X(SESSIONS_FULL, "sessions_full", 0, GATEWAY, 0, "a newer UDP session took the place of this one")            \
    X(H2_ERROR, "http2_error", 0, CLIENT, 0, "the client broke a rule of HTTP/2 that ends the connection")        \
    X(H2_FLOOD, "http2_flood", 0, CLIENT, 0, "the client asked for more answers of HTTP/2 than it took")          \
    X(H2_RESETS, "http2_resets", 0, CLIENT, 0, "too many streams of HTTP/2 were reset, or had to be")             \
    X(H2_PINGS, "http2_pings", 0, CLIENT, 0, "too many PING frames")                                              \
    X(H2_SETTINGS, "http2_settings", 0, CLIENT, 0, "too many SETTINGS frames")                                    \
    X(H2_EMPTY, "http2_empty_frames", 0, CLIENT, 0, "too many empty DATA frames")                                 \
    X(H2_CONTINUATIONS, "http2_continuations", 0, CLIENT, 0, "too many CONTINUATION frames")                      \
    X(H2_PRIORITIES, "http2_priorities", 0, CLIENT, 0, "too many PRIORITY frames")                                \
    X(H2_UPDATES, "http2_window_updates", 0, CLIENT, 0, "too many WINDOW_UPDATE frames")

enum fg_reason {
#define X(name, label, status, side, retryable, text) FG_R_##name,
    FG_REASONS(X)
#undef X
    FG_R_COUNT
};

struct fg_reason_info {
    const char *name, *text;
    uint16_t status;
    uint8_t side, retryable;
};

/* Defined in fg_reply.c. */
extern const struct fg_reason_info fg_reasons[FG_R_COUNT];

#endif
