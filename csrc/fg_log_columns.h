/* Columns of the access log, in the order of JSON lines: one table for the engine, the models and the documentation.
 *
 * X(name, form, text_only, relays): in JSON, form 0 is a string, 1 a number, 2 an object; text_only columns are for templates;
 * lines of relays, below HTTP, have those of `relays` alone.
 */
#ifndef FG_LOG_COLUMNS_H
#define FG_LOG_COLUMNS_H

#define FG_LOG_COLUMNS(X)           \
    X(time, 0, 0, 1)                \
    X(client, 0, 0, 1)              \
    X(client_address, 0, 1, 1)      \
    X(local, 0, 0, 1)               \
    X(scheme, 0, 0, 0)              \
    X(method, 0, 0, 0)              \
    X(target, 0, 1, 0)              \
    X(host, 0, 0, 0)                \
    X(path, 0, 0, 0)                \
    X(query, 0, 0, 0)               \
    X(protocol, 0, 0, 1)            \
    X(status, 1, 0, 0)              \
    X(reason, 0, 0, 1)              \
    X(parse_error, 0, 0, 0)         \
    X(bytes_received, 1, 0, 1)      \
    X(bytes_sent, 1, 0, 1)          \
    X(duration_us, 1, 0, 1)         \
    X(response_us, 1, 0, 0)         \
    X(listener, 0, 0, 1)            \
    X(route, 0, 0, 1)               \
    X(rule, 1, 0, 0)                \
    X(upstream, 0, 0, 1)            \
    X(upstream_error, 0, 0, 1)      \
    X(tries, 1, 0, 1)               \
    X(request_id, 0, 0, 0)          \
    X(user_agent, 0, 0, 0)          \
    X(referer, 0, 0, 0)             \
    X(x_forwarded_for, 0, 0, 0)     \
    X(tls_version, 0, 0, 1)         \
    X(tls_cipher, 0, 0, 1)          \
    X(server_name, 0, 0, 1)         \
    X(alpn, 0, 0, 1)                \
    X(client_subject, 0, 0, 1)      \
    X(client_names, 0, 0, 1)        \
    X(client_fingerprint, 0, 0, 1)  \
    X(log, 2, 0, 0)

#endif
