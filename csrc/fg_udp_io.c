/* Datagrams in and out, as many as there are in one system call: recvmmsg with UDP_GRO, sendmmsg with UDP_SEGMENT. */
#include "fg_udp.h"

#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <sys/socket.h>

/* The kernel's bounds of a message with UDP_SEGMENT: segments (64 before Linux 6.9), and bytes behind an IPv4 header. */
enum { MOST_SEGMENTS = 64, MOST_BYTES = 65507 };

bool fg_udp_in_init(struct fg_udp_in *in, bool names) {
    in->bytes = malloc((size_t)FG_UDP_BATCH * FG_UDP_STRIDE);
    if (in->bytes == NULL)
        return false;
    for (unsigned i = 0; i < FG_UDP_BATCH; i++) {
        in->iov[i] = (struct iovec){in->bytes + (size_t)i * FG_UDP_STRIDE, FG_UDP_BYTES};
        in->msgs[i].msg_hdr = (struct msghdr){.msg_name = names ? &in->names[i] : NULL, .msg_iov = &in->iov[i], .msg_iovlen = 1,
            .msg_control = in->control[i]};
    }
    in->used = FG_UDP_BATCH;
    return true;
}

static uint32_t segment_of(struct msghdr *m) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
            int size;
            memcpy(&size, CMSG_DATA(c), sizeof size);
            return size > 0 ? (uint32_t)size : 0;
        }
    }
    return 0;
}

/* What the last call wrote into them is undone: most calls fill a few of many. */
static void make_ready(struct fg_udp_in *in, unsigned first, unsigned end) {
    for (unsigned i = first; i < end && i < in->used; i++) {
        in->iov[i].iov_len = FG_UDP_BYTES;
        in->msgs[i].msg_hdr.msg_namelen = in->msgs[i].msg_hdr.msg_name ? sizeof in->names[i] : 0;
        in->msgs[i].msg_hdr.msg_controllen = FG_UDP_CONTROL;
    }
    if (end >= in->used)
        in->used = first;
}

static void note_used(struct fg_udp_in *in, unsigned end) {
    if (end > in->used)
        in->used = end;
}

int fg_udp_receive(int fd, struct fg_udp_in *in, unsigned first, unsigned most) {
    int n;
    make_ready(in, first, first + most);
    do
        n = recvmmsg(fd, in->msgs + first, most, MSG_DONTWAIT, NULL);
    while (n < 0 && errno == EINTR);
    for (int i = 0; i < n; i++) {
        struct mmsghdr *m = &in->msgs[first + (unsigned)i];
        in->iov[first + (unsigned)i].iov_len = m->msg_len;
        in->segment[first + (unsigned)i] = segment_of(&m->msg_hdr);
    }
    if (n > 0)
        note_used(in, first + (unsigned)n);
    return n;
}

bool fg_udp_receive_one(int fd, struct fg_udp_in *in, unsigned i) {
    ssize_t n;
    do
        n = recv(fd, in->iov[i].iov_base, FG_UDP_BYTES, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return false;
    note_used(in, i + 1);
    in->iov[i].iov_len = (size_t)n;
    in->msgs[i].msg_hdr.msg_flags = 0; /* the buffer is larger than any datagram */
    in->segment[i] = 0;
    return true;
}

void fg_udp_local(struct fg_udp_in *in, unsigned i, struct fg_source *source) {
    struct msghdr *m = &in->msgs[i].msg_hdr;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO)
            memcpy(source->local, CMSG_DATA(c) + offsetof(struct in_pktinfo, ipi_spec_dst), sizeof(struct in_addr));
        else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO)
            memcpy(source->local, CMSG_DATA(c) + offsetof(struct in6_pktinfo, ipi6_addr), sizeof(struct in6_addr));
    }
}

/* --- out ---------------------------------------------------------------------------------------------------------------------- */

bool fg_udp_add(struct fg_udp_out *out, const struct iovec *bytes, uint32_t segment, bool same) {
    uint32_t len = (uint32_t)bytes->iov_len;
    unsigned last = out->n - 1;
    out->iov[out->niov] = *bytes;
    if (same && out->open && len && len <= out->size[last] && !(segment && segment < len) &&
        out->datagrams[last] < MOST_SEGMENTS && out->bytes[last] + len <= MOST_BYTES) {
        out->msgs[last].msg_hdr.msg_iovlen++;
        out->niov++;
        out->bytes[last] += len;
        out->datagrams[last]++;
        out->open = len == out->size[last];
        return false;
    }
    unsigned i = out->n++;
    uint32_t count = fg_udp_count(len, segment);
    out->size[i] = count > 1 ? segment : len;
    out->bytes[i] = len;
    out->datagrams[i] = count;
    out->open = count == 1 && len;
    out->msgs[i].msg_hdr = (struct msghdr){.msg_iov = &out->iov[out->niov++], .msg_iovlen = 1, .msg_control = out->control[i]};
    return true;
}

static void add_control(struct msghdr *m, int level, int type, const void *data, size_t size) {
    struct cmsghdr *c = (void *)((uint8_t *)m->msg_control + m->msg_controllen);
    m->msg_controllen += CMSG_SPACE(size);
    memset(c, 0, CMSG_SPACE(size));
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(c), data, size);
}

void fg_udp_add_local(struct fg_udp_out *out, const struct fg_source *source, bool v6) {
    struct msghdr *m = &out->msgs[out->n - 1].msg_hdr;
    if (v6) {
        struct in6_pktinfo info = {.ipi6_ifindex = source->scope};
        memcpy(&info.ipi6_addr, source->local, sizeof info.ipi6_addr);
        add_control(m, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
    } else {
        struct in_pktinfo info = {0};
        memcpy(&info.ipi_spec_dst, source->local, sizeof info.ipi_spec_dst);
        add_control(m, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
    }
}

static void count(struct fg_sent *sent, bool passed, uint64_t datagrams, uint64_t bytes) {
    if (passed) {
        sent->datagrams += datagrams;
        sent->bytes += bytes;
    } else {
        sent->dropped += datagrams;
        sent->error = errno;
    }
}

/* Where the way out takes no segments, or none of this size. `local` bytes of ancillary data stay. */
static void send_singly(int fd, const struct fg_udp_out *out, unsigned i, size_t local, struct fg_sent *sent) {
    struct msghdr m = out->msgs[i].msg_hdr;
    m.msg_controllen = local;
    for (size_t k = 0; k < out->msgs[i].msg_hdr.msg_iovlen; k++) {
        const struct iovec *from = &out->msgs[i].msg_hdr.msg_iov[k];
        for (size_t off = 0; off < from->iov_len; off += out->size[i]) {
            size_t left = from->iov_len - off;
            struct iovec one = {(uint8_t *)from->iov_base + off, left < out->size[i] ? left : out->size[i]};
            m.msg_iov = &one;
            m.msg_iovlen = 1;
            count(sent, sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0, 1, one.iov_len);
        }
    }
}

struct fg_sent fg_udp_send_one(int fd, const struct iovec *bytes) {
    struct fg_sent sent = {0};
    count(&sent, send(fd, bytes->iov_base, bytes->iov_len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0, 1, bytes->iov_len);
    return sent;
}

struct fg_sent fg_udp_send(int fd, struct fg_udp_out *out) {
    struct fg_sent sent = {0};
    size_t local = out->n ? out->msgs[0].msg_hdr.msg_controllen : 0;
    for (unsigned i = 0; i < out->n; i++) {
        uint16_t size = (uint16_t)out->size[i];
        if (out->datagrams[i] > 1)
            add_control(&out->msgs[i].msg_hdr, SOL_UDP, UDP_SEGMENT, &size, sizeof size);
        if (out->msgs[i].msg_hdr.msg_controllen == 0)
            out->msgs[i].msg_hdr.msg_control = NULL;
    }
    for (unsigned at = 0; at < out->n;) {
        int n = sendmmsg(fd, out->msgs + at, out->n - at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        for (int i = 0; i < n; i++, at++)
            count(&sent, true, out->datagrams[at], out->bytes[at]);
        if (n > 0)
            continue;
        if (out->datagrams[at] > 1 && (errno == EINVAL || errno == EIO || errno == EMSGSIZE))
            send_singly(fd, out, at, local, &sent);
        else
            count(&sent, false, out->datagrams[at], 0);
        at++;
    }
    out->n = out->niov = 0;
    out->open = false;
    return sent;
}
