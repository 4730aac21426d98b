/* Every way in which a message can be malformed: one table for C, Cython, Python and the documentation.
 *
 * X(name, code, status, text)
 *   code    what a parser returns (below FG_MORE)
 *   status  what the gateway answers when the message came from a client; a backend's malformed message is always 502
 *   text    for logs and exceptions; the access log's reason is the lower-case name
 */
#ifndef FG_PARSE_ERRORS_H
#define FG_PARSE_ERRORS_H

#define FG_PARSE_ERRORS(X)                                                                                              \
    X(BAD_METHOD, -2, 400, "the method is not a token (RFC 9110 section 9.1)")                                          \
    X(BAD_TARGET, -3, 400, "the request target has a byte that is not allowed (RFC 9112 section 3.2)")                  \
    X(BAD_TARGET_FORM, -4, 400, "the form of the request target does not fit the method (RFC 9112 section 3.2)")        \
    X(BAD_VERSION, -5, 400, "the HTTP version is malformed (RFC 9112 section 2.3)")                                     \
    X(UNSUPPORTED_VERSION, -6, 505, "this major version of HTTP is not spoken here (RFC 9110 section 15.6.6)")          \
    X(BAD_LINE_END, -7, 400, "a line does not end in CR LF (RFC 9112 section 2.2)")                                     \
    X(BAD_FIELD_NAME, -8, 400, "a field name is not a token, or white space stands before its colon (RFC 9112 section 5.1)") \
    X(BAD_FIELD_VALUE, -9, 400, "a field value has a control byte (RFC 9110 section 5.5)")                              \
    X(OBS_FOLD, -10, 400, "a field line is folded (RFC 9112 section 5.2)")                                              \
    X(TOO_MANY_FIELDS, -11, 431, "the head has more field lines than the limit")                                        \
    X(HEAD_TOO_LARGE, -12, 431, "the head is larger than the limit")                                                    \
    X(LINE_TOO_LONG, -13, 414, "the request line is longer than the limit")                                             \
    X(MISSING_HOST, -14, 400, "an HTTP/1.1 request without Host (RFC 9112 section 3.2)")                                \
    X(DUPLICATE_HOST, -15, 400, "more than one Host (RFC 9112 section 3.2)")                                            \
    X(BAD_HOST, -16, 400, "Host is not a valid authority (RFC 9110 section 7.2)")                                       \
    X(BAD_CONTENT_LENGTH, -17, 400, "Content-Length is not one plain decimal number (RFC 9112 section 6.3)")            \
    X(DUPLICATE_CONTENT_LENGTH, -18, 400, "more than one Content-Length (RFC 9112 section 6.3)")                        \
    X(LENGTH_WITH_TRANSFER_ENCODING, -19, 400, "Content-Length together with Transfer-Encoding (RFC 9112 section 6.1)") \
    X(BAD_TRANSFER_ENCODING, -20, 400, "Transfer-Encoding is faulty, or its last coding is not chunked (RFC 9112 section 6.1)") \
    X(UNSUPPORTED_TRANSFER_ENCODING, -21, 501, "a transfer coding other than chunked (RFC 9112 section 6.1)")           \
    X(BAD_STATUS_LINE, -22, 400, "the status line is malformed (RFC 9112 section 4)")                                   \
    X(BAD_CHUNK_SIZE, -23, 400, "a chunk size is not plain hexadecimal, or too large (RFC 9112 section 7.1)")           \
    X(BAD_CHUNK_END, -24, 400, "chunk data does not end in CR LF (RFC 9112 section 7.1)")                               \
    X(CHUNK_EXTENSION_TOO_LONG, -25, 400, "a chunk extension is longer than the limit (RFC 9112 section 7.1.1)")        \
    X(BAD_CHUNK_EXTENSION, -26, 400, "a chunk extension has a byte that is not allowed (RFC 9112 section 7.1.1)")       \
    X(TRAILERS_TOO_LARGE, -27, 431, "the trailer section is larger than the limit")                                     \
    X(BAD_PATH_ESCAPE, -28, 400, "the path has a faulty percent escape, or %00")                                        \
    X(BAD_PATH_CLIMB, -29, 400, "the path climbs above the root")                                                       \
    X(BAD_PATH_BYTE, -30, 400, "the path has a byte that is not allowed")                                               \
    X(NOT_TLS, -31, 400, "the first record is not a TLS handshake (RFC 8446 section 5.1)")                              \
    X(BAD_CLIENT_HELLO, -32, 400, "the ClientHello is malformed (RFC 8446 section 4.1.2)")                              \
    X(CLIENT_HELLO_TOO_LARGE, -33, 400, "the ClientHello is larger than the limit")                                     \
    X(BAD_SERVER_NAME, -34, 400, "the ClientHello's server name is not a DNS host name (RFC 6066 section 3)")

enum fg_parse_error {
#define X(name, code, status, text) FG_E_##name = (code),
    FG_PARSE_ERRORS(X)
#undef X
};

#endif
