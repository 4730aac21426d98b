/* Field names that the gateway itself looks at: one table for the parser's index, the engine, Cython and the documentation.
 *
 * X(token, name, flags): the name is lower-case; flags say how the field travels.
 */
#ifndef FG_HEADERS_H
#define FG_HEADERS_H

enum {
    FG_HDR_HOP = 1,      /* hop-by-hop: never forwarded as it came (RFC 9110 section 7.6.1) */
    FG_HDR_FRAMING = 2,  /* decides where the message ends */
    FG_HDR_GUARDED = 4,  /* Connection may not name it (CVE-2022-31813) */
    FG_HDR_CLIENT = 8,   /* says who the client is: replaced unless it came over trusted hops */
    FG_HDR_NO_TRAILER = 16 /* never a trailer: routing, framing, authentication (RFC 9110 section 6.5.1) */
};

#define FG_HEADERS(X)                                                                          \
    X(CONNECTION, "connection", FG_HDR_HOP | FG_HDR_NO_TRAILER)                                \
    X(KEEP_ALIVE, "keep-alive", FG_HDR_HOP | FG_HDR_NO_TRAILER)                                \
    X(PROXY_CONNECTION, "proxy-connection", FG_HDR_HOP | FG_HDR_NO_TRAILER)                    \
    X(PROXY_AUTHENTICATE, "proxy-authenticate", FG_HDR_HOP | FG_HDR_NO_TRAILER)                \
    X(PROXY_AUTHORIZATION, "proxy-authorization", FG_HDR_HOP | FG_HDR_NO_TRAILER)              \
    X(TE, "te", FG_HDR_HOP | FG_HDR_NO_TRAILER)                                                \
    X(TRAILER, "trailer", FG_HDR_HOP | FG_HDR_NO_TRAILER)                                      \
    X(TRANSFER_ENCODING, "transfer-encoding", FG_HDR_HOP | FG_HDR_FRAMING | FG_HDR_NO_TRAILER) \
    X(UPGRADE, "upgrade", FG_HDR_HOP | FG_HDR_NO_TRAILER)                                      \
    X(HTTP2_SETTINGS, "http2-settings", FG_HDR_HOP | FG_HDR_NO_TRAILER)                        \
    X(CONTENT_LENGTH, "content-length", FG_HDR_FRAMING | FG_HDR_GUARDED | FG_HDR_NO_TRAILER)   \
    X(HOST, "host", FG_HDR_GUARDED | FG_HDR_NO_TRAILER)                                        \
    X(AUTHORIZATION, "authorization", FG_HDR_GUARDED | FG_HDR_NO_TRAILER)                      \
    X(WWW_AUTHENTICATE, "www-authenticate", FG_HDR_NO_TRAILER)                                 \
    X(COOKIE, "cookie", FG_HDR_NO_TRAILER)                                                     \
    X(SET_COOKIE, "set-cookie", FG_HDR_NO_TRAILER)                                             \
    X(CONTENT_TYPE, "content-type", FG_HDR_GUARDED | FG_HDR_NO_TRAILER)                        \
    X(CONTENT_ENCODING, "content-encoding", FG_HDR_GUARDED | FG_HDR_NO_TRAILER)                \
    X(CONTENT_RANGE, "content-range", FG_HDR_GUARDED | FG_HDR_NO_TRAILER)                      \
    X(EXPECT, "expect", FG_HDR_NO_TRAILER)                                                     \
    X(FORWARDED, "forwarded", FG_HDR_GUARDED | FG_HDR_CLIENT | FG_HDR_NO_TRAILER)              \
    X(X_FORWARDED_FOR, "x-forwarded-for", FG_HDR_GUARDED | FG_HDR_CLIENT | FG_HDR_NO_TRAILER)  \
    X(X_FORWARDED_PROTO, "x-forwarded-proto", FG_HDR_GUARDED | FG_HDR_CLIENT | FG_HDR_NO_TRAILER) \
    X(X_FORWARDED_HOST, "x-forwarded-host", FG_HDR_GUARDED | FG_HDR_CLIENT | FG_HDR_NO_TRAILER) \
    X(X_FORWARDED_PORT, "x-forwarded-port", FG_HDR_GUARDED | FG_HDR_CLIENT | FG_HDR_NO_TRAILER) \
    X(X_REAL_IP, "x-real-ip", FG_HDR_GUARDED | FG_HDR_CLIENT | FG_HDR_NO_TRAILER)              \
    X(CLIENT_CERT, "client-cert", FG_HDR_GUARDED | FG_HDR_NO_TRAILER)                          \
    X(CLIENT_CERT_CHAIN, "client-cert-chain", FG_HDR_GUARDED | FG_HDR_NO_TRAILER)              \
    X(X_REQUEST_ID, "x-request-id", FG_HDR_NO_TRAILER)                                         \
    X(VIA, "via", FG_HDR_NO_TRAILER)                                                           \
    X(DATE, "date", FG_HDR_NO_TRAILER)                                                         \
    X(SERVER, "server", 0)                                                                     \
    X(USER_AGENT, "user-agent", 0)                                                             \
    X(REFERER, "referer", 0)                                                                   \
    X(LOCATION, "location", FG_HDR_NO_TRAILER)                                                 \
    X(CACHE_CONTROL, "cache-control", FG_HDR_NO_TRAILER)                                       \
    X(VARY, "vary", FG_HDR_NO_TRAILER)                                                         \
    X(RETRY_AFTER, "retry-after", FG_HDR_NO_TRAILER)                                           \
    X(MAX_FORWARDS, "max-forwards", FG_HDR_NO_TRAILER)                                         \
    X(TRACEPARENT, "traceparent", FG_HDR_NO_TRAILER)                                           \
    X(SEC_WEBSOCKET_KEY, "sec-websocket-key", FG_HDR_NO_TRAILER)                               \
    X(ORIGIN, "origin", FG_HDR_NO_TRAILER)                                                     \
    X(GRPC_STATUS, "grpc-status", 0)                                                           \
    X(GRPC_MESSAGE, "grpc-message", 0)

enum fg_header {
    FG_HDR_OTHER = 0, /* a name that is not in the table */
#define X(token, name, flags) FG_H_##token,
    FG_HEADERS(X)
#undef X
    FG_H_COUNT
};
_Static_assert(FG_H_COUNT <= 64, "tokens are bits of fg_h1_head.repeated, positions of .first");

#endif
