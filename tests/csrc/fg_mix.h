/* Requests of every kind that the configuration of test_engine.py serves, and the status that each is answered. */
#ifndef FG_MIX_H
#define FG_MIX_H

#include <stddef.h>

struct mix_request {
    int status;
    size_t len;
    const char *bytes;
};

#define REQUEST(status, text) {status, sizeof(text) - 1, text}
#define HEAD(method, path) method " " path " HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: mix\r\n"

static const struct mix_request mix[] = {
    REQUEST(200, HEAD("GET", "/") "\r\n"),
    REQUEST(200, HEAD("GET", "/chunked?a=b") "\r\n"),
    REQUEST(200, HEAD("GET", "/large") "\r\n"),
    REQUEST(200, HEAD("POST", "/post") "Content-Length: 11\r\n\r\nhello world"),
    REQUEST(200, HEAD("POST", "/chunked") "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n"),
    REQUEST(200, HEAD("GET", "/edited/./a/%7eb/../c?q") "X-Removed: 1\r\nX-Set: old\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n"),
    REQUEST(200, HEAD("GET", "/two") "\r\n"),
    REQUEST(200, HEAD("PUT", "/by/header") "X-Choice: b\r\nContent-Length: 0\r\n\r\n"),
    REQUEST(302, HEAD("GET", "/moved/here") "\r\n"),
    REQUEST(404, HEAD("GET", "/missing") "\r\n"),
};

enum { MIX = sizeof mix / sizeof mix[0] };

#endif
