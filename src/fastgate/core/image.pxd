"""The image: its C structures (csrc/fg_image.h, csrc/fg_table.h) and the loader's C interface."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastgate.core.http1 cimport fg_field
from fastgate.core.regex cimport fg_re2

cdef extern from "fg_image.h" nogil:
    const uint64_t FG_IMAGE_MAGIC
    const uint64_t FG_ENDPOINTS_MAGIC
    enum: FG_IMAGE_VERSION
    enum: FG_SEG_SOCKETS, FG_SEG_CLUSTERS, FG_SEG_HOSTS, FG_SEG_GROUP
    enum: FG_REWRITE_NONE, FG_REWRITE_FULL, FG_REWRITE_PREFIX
    enum: FG_MAX_FIELDS
    enum: FG_PHASE_COUNT, FG_FILTER_STAGES, FG_FILTER_BODY
    enum: FG_ACTION_FORWARD, FG_ACTION_REDIRECT, FG_ACTION_RESPOND
    enum: FG_UPSTREAM_HTTP1, FG_UPSTREAM_H2C, FG_UPSTREAM_WEBSOCKET, FG_UPSTREAM_TCP, FG_UPSTREAM_UDP
    enum: FG_LISTENER_HTTP, FG_LISTENER_HTTPS, FG_LISTENER_TLS, FG_LISTENER_TCP, FG_LISTENER_UDP
    enum: FG_VERIFY_NONE, FG_VERIFY_OPTIONAL, FG_VERIFY_REQUIRED

    ctypedef struct fg_bytes "struct fg_bytes":
        const uint8_t *p
        size_t len

    ctypedef struct fg_ref "struct fg_ref":
        uint32_t off, len

    ctypedef struct fg_img_header "struct fg_img_header":
        uint64_t magic
        uint32_t version, nsegments
        uint64_t size, checksum, generation

    ctypedef struct fg_img_segment "struct fg_img_segment":
        uint64_t hash[2]
        uint64_t offset
        uint32_t size, kind

    ctypedef struct fg_img_pair "struct fg_img_pair":
        fg_ref name, value

    ctypedef struct fg_img_edits "struct fg_img_edits":
        fg_ref set, add, remove

    ctypedef struct fg_img_member "struct fg_img_member":
        uint64_t key
        fg_ref name
        uint32_t phases

    ctypedef struct fg_img_stage "struct fg_img_stage":
        uint64_t key
        uint32_t timeout, phases
        uint8_t runs_inline, deny
        uint32_t buffer_body
        fg_ref spec, members

    ctypedef struct fg_img_filters "struct fg_img_filters":
        fg_img_edits request, response
        fg_ref hostname, path, stages
        uint32_t path_kind

    ctypedef struct fg_img_redirect "struct fg_img_redirect":
        fg_ref scheme, hostname, path
        uint32_t port
        uint16_t status
        uint8_t path_kind

    ctypedef struct fg_img_backend "struct fg_img_backend":
        uint64_t cluster
        uint32_t weight
        uint16_t status, reason
        uint32_t filters

    ctypedef struct fg_img_rule "struct fg_img_rule":
        uint64_t key, route_key
        uint16_t index, status, reason
        uint8_t action
        uint32_t request_timeout, backend_timeout, total_weight, filters
        fg_ref to, route, name

    ctypedef struct fg_img_limits "struct fg_img_limits":
        uint32_t request_line, head_bytes, head_fields, response_head_bytes
        uint64_t body_bytes
        uint32_t first_byte_timeout, head_timeout, idle_timeout, body_min_rate, body_rate_window
        uint32_t connect_timeout, response_timeout, stream_idle_timeout
        uint32_t upstream_idle_timeout, tunnel_idle_timeout, keepalive_requests, connections, upstream_connections
        uint32_t interim_responses

    ctypedef struct fg_img_choice "struct fg_img_choice":
        uint64_t key
        fg_ref certificates

    ctypedef struct fg_img_tls "struct fg_img_tls":
        uint64_t policy
        fg_ref choices
        uint32_t hosts_segment
        uint16_t min_version, max_version
        fg_ref ciphers, ciphersuites, groups, alpn, authorities
        uint8_t verify

    ctypedef struct fg_img_upstream_tls "struct fg_img_upstream_tls":
        uint64_t key
        fg_ref server_name, names, authorities, certificate, alpn
        uint16_t min_version, max_version
        uint8_t system_trust

    ctypedef struct fg_img_relay "struct fg_img_relay":
        uint64_t key, route_key
        fg_ref route, name, backends
        uint32_t total_weight
        uint8_t passthrough

    ctypedef struct fg_img_listener "struct fg_img_listener":
        uint64_t key
        fg_ref key_name, gateway, name, hostname
        uint32_t protocol, hosts_segment, filters
        fg_ref tls, relays

    ctypedef struct fg_img_socket "struct fg_img_socket":
        uint64_t key
        fg_ref address
        uint32_t port, trusted_hops
        fg_ref listeners
        uint32_t hosts_segment
        fg_ref via, server, log_format, trailers
        uint8_t underscores, request_id, access_log, datagrams, proxy_protocol, client_cert
        fg_img_limits limits

    ctypedef struct fg_img_statuses "struct fg_img_statuses":
        uint16_t first, last

    ctypedef struct fg_img_cluster "struct fg_img_cluster":
        uint64_t key
        fg_ref name
        uint64_t health_key
        fg_ref health_path, health_host, health_statuses
        uint32_t health_interval, health_timeout, health_healthy, health_unhealthy, protocol, send_proxy
        fg_ref tls

    ctypedef struct fg_image "struct fg_image":
        const uint8_t *base
        size_t size
        uint64_t generation
        const fg_img_segment *dir
        uint32_t nsegments
        const uint8_t *sockets_seg
        const fg_img_socket *sockets
        uint32_t nsockets
        const uint8_t *clusters_seg
        const fg_img_cluster *clusters
        uint32_t nclusters
        void *tables

    ctypedef struct fg_ep_header "struct fg_ep_header":
        uint64_t magic, version, size, checksum
        uint32_t nclusters, nendpoints

    ctypedef struct fg_ep_cluster "struct fg_ep_cluster":
        uint64_t key
        uint32_t first, count

    ctypedef struct fg_ep_endpoint "struct fg_ep_endpoint":
        uint8_t address[16]
        uint16_t port
        uint8_t family
        uint32_t weight

    uint64_t fg_health_key(uint64_t check, const uint8_t *address, uint16_t port, uint8_t family)

    ctypedef struct fg_match_query "struct fg_match_query":
        const uint8_t *host
        const uint8_t *path
        const uint8_t *query
        const uint8_t *method
        const uint8_t *base
        const fg_field *fields
        uint32_t host_len, path_len, query_len, method_len, nfields

    ctypedef struct fg_match_result "struct fg_match_result":
        const fg_img_rule *rule
        const uint8_t *seg
        const fg_img_listener *listener
        fg_bytes hostname
        uint32_t prefix_len

cdef extern from "fg_table.h" nogil:
    ctypedef struct fg_node "struct fg_node":
        fg_ref label
        uint32_t children, mask, exact, below, up, depth

    ctypedef struct fg_slot "struct fg_slot":
        uint32_t hash, to

    ctypedef struct fg_named "struct fg_named":
        fg_ref name
        uint32_t value

    ctypedef struct fg_hosts "struct fg_hosts":
        fg_ref exact, nodes, named
        uint32_t exact_seed, any, root, seed

    ctypedef struct fg_group "struct fg_group":
        fg_ref hostname
        uint32_t root, seed, regexes, position
        fg_ref headers, queries, patterns, nodes, rules

    ctypedef struct fg_name "struct fg_name":
        fg_ref text
        uint32_t token

    ctypedef struct fg_condition "struct fg_condition":
        uint32_t name, pattern
        fg_ref value

    ctypedef struct fg_candidate "struct fg_candidate":
        uint32_t rule, pattern
        fg_ref method, headers, queries

    ctypedef struct fg_candidates "struct fg_candidates":
        uint32_t count
        fg_candidate at[1]

    uint32_t fg_part_hash(const uint8_t *p, size_t n, uint32_t seed)

cdef extern from "fg_secrets.h" nogil:
    enum: FG_DIGEST

cdef extern from "fg_hash.h" nogil:
    uint64_t fg_hash(const void *data, size_t size)
    uint64_t fg_checksum(const void *data, size_t size)

# What opening an image adds to it: its patterns, compiled. first[s] is where those of directory position s begin.
ctypedef struct image_tables:
    uint32_t *first
    fg_re2 **patterns
    uint32_t npatterns
    bint mapped  # close unmaps base

cdef int image_check(const uint8_t *base, size_t size, fg_image *image, char *why, size_t why_size) noexcept nogil
cdef int image_open(int fd, fg_image *image, char *why, size_t why_size) noexcept nogil
cdef void image_close(fg_image *image) noexcept nogil
