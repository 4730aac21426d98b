"""Tables that lead from names to what is said of them: tries of paths and wildcards, hash tables of hosts (csrc/fg_table.h)."""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memset

from cpython.unicode cimport PyUnicode_AsUTF8AndSize

from fastgate.core.image cimport fg_hosts, fg_named, fg_node, fg_part_hash, fg_ref, fg_slot
from fastgate.core.segment cimport Segment, array_of


class Part:
    """A node before edges are joined."""

    __slots__ = ("below", "children", "exact")

    def __init__(self):
        self.children = {}
        self.exact = None
        self.below = None


def descend(node, parts):
    for part in parts:
        child = node.children.get(part)
        if child is None:
            child = node.children[part] = Part()
        node = child
    return node


def _joined(root):
    """Nodes after joining edges without a choice, parents first: (part, first part, parts of the edge, up, depth, children)."""
    nodes = []
    stack = [(root, [], -1, -1, 0)]
    while stack:
        node, edge, parent, up, depth = stack.pop()
        number = len(nodes)
        children = []
        nodes.append((node, edge, up, depth, children))
        if parent >= 0:
            nodes[parent][4].append((edge[0], number))
        if node.below is not None:
            up = number
        for part, child in node.children.items():
            parts = [part]
            while child.exact is None and child.below is None and len(child.children) == 1:
                part, child = next(iter(child.children.items()))
                parts.append(part)
            stack.append((child, parts, number, up, depth + sum(map(len, parts)) + len(parts)))
    return nodes


cdef uint32_t _fill(Segment seg, list tables, uint32_t seed) except? 0xffffffff:
    """Fill tables (offset, mask, [(part, what it leads to)]) with this seed; returns the longest probe."""
    cdef uint32_t off, mask, hash_, at, probe, worst = 0, to
    cdef fg_slot *slots
    cdef bytes part
    for off, mask, children in tables:
        slots = <fg_slot *>(seg.p + off)
        memset(slots, 0, sizeof(fg_slot) * (<size_t>mask + 1))
        for part, to in children:
            hash_ = fg_part_hash(<const uint8_t *><const char *>part, len(part), seed)
            at = hash_ & mask
            probe = 0
            while slots[at].to:
                at = (at + 1) & mask
                probe += 1
            slots[at].hash = hash_
            slots[at].to = to
            worst = max(worst, probe)
    return worst


cdef enum:
    LONG_PROBE = 48
    SEEDS = 8


cdef uint32_t _seed(Segment seg, list tables) except? 0xffffffff:
    """Fill tables with the first seed that is good for all of them."""
    cdef uint32_t seed = 0
    while _fill(seg, tables, seed) > LONG_PROBE and seed < SEEDS:
        seed += 1
    return seed


def _slots(size):
    """Slots of a table that is at most half full."""
    return 1 << (2 * size - 1).bit_length()


cdef tuple trie(Segment seg, object root, bytes separator, bint from_right):
    """Write a trie. Returns (array of nodes, seed, [(offset of node, Part)]); the caller sets the values."""
    cdef list nodes = _joined(root)
    cdef fg_ref array = array_of(seg, nodes, sizeof(fg_node))
    cdef fg_ref label
    cdef fg_node *n
    cdef uint32_t at, children_at, mask
    cdef list tables = [], places = []
    for number, (part, edge, up, depth, children) in enumerate(nodes):
        at = array.off + <uint32_t>(number * sizeof(fg_node))
        places.append((at, part))
        label = seg.text(separator.join(reversed(edge) if from_right else edge).decode("latin-1"))
        children_at = mask = 0
        offsets = [(first, array.off + <uint32_t>(child * sizeof(fg_node))) for first, child in children]
        if len(offsets) == 1:
            children_at = offsets[0][1]
        elif offsets:
            mask = _slots(len(offsets)) - 1
            children_at = seg.room(sizeof(fg_slot) * (<size_t>mask + 1))
            tables.append((children_at, mask, offsets))
        n = <fg_node *>(seg.p + at)
        n.label = label
        n.children = children_at
        n.mask = mask
        n.up = array.off + <uint32_t>(up * sizeof(fg_node)) if up >= 0 else 0
        n.depth = depth
    return (array.off, array.len), _seed(seg, tables), places


cdef fg_ref _named(Segment seg, list hosts) except *:
    """Names and values of exact hosts, which become the positions + 1 of what is said of them."""
    cdef fg_ref array = array_of(seg, hosts, sizeof(fg_named))
    cdef fg_named out
    memset(&out, 0, sizeof(out))
    for i, (name, value) in enumerate(hosts):
        out.name = seg.text(name.decode("latin-1"))
        out.value = value
        (<fg_named *>(seg.p + array.off) + <size_t>i)[0] = out
        hosts[i] = (name, i + 1)
    return array


cdef bytes hosts_of(list entries):
    """FG_SEG_HOSTS of (hostname, value), whose values are positions + 1."""
    cdef Segment seg = Segment()
    cdef uint32_t top = seg.room(sizeof(fg_hosts))
    cdef fg_hosts out
    memset(&out, 0, sizeof(out))
    exact, others = [], []
    for hostname, value in entries:
        if hostname == "" or hostname.startswith("*."):
            others.append((hostname, value))
        else:
            exact.append((hostname.encode("latin-1", "replace"), value))
    out.named = _named(seg, exact)
    if exact:
        out.exact.len = <uint32_t>_slots(len(exact))
        out.exact.off = seg.room(sizeof(fg_slot) * <size_t>out.exact.len, 64)
        out.exact_seed = _seed(seg, [(out.exact.off, out.exact.len - 1, exact)])
    _wildcards(seg, top, &out, others)
    return seg.done()


cdef bytes hosts_of_groups(tuple hosts, uint32_t first):
    """FG_SEG_HOSTS of virtual hosts, whose groups are at these directory positions, the first at `first` - 1."""
    cdef Segment seg = Segment()
    cdef uint32_t top = seg.room(sizeof(fg_hosts)), number = 0, exact = 0
    cdef fg_hosts out
    cdef str hostname
    memset(&out, 0, sizeof(out))
    others = []
    for vhost in hosts:
        hostname = vhost.hostname
        if hostname == "" or hostname.startswith("*."):
            others.append((hostname, first + number))
        else:
            exact += 1
        number += 1
    if exact:
        out.exact.len = <uint32_t>_slots(exact)
        out.exact.off = seg.room(sizeof(fg_slot) * <size_t>out.exact.len, 64)
        while _fill_exact(<fg_slot *>(seg.p + out.exact.off), out.exact.len - 1, hosts, first, out.exact_seed) > LONG_PROBE \
                and out.exact_seed < SEEDS:
            out.exact_seed += 1
    _wildcards(seg, top, &out, others)
    return seg.done()


cdef uint32_t _fill_exact(fg_slot *slots, uint32_t mask, tuple hosts, uint32_t first, uint32_t seed) except? 0xffffffff:
    """Fill a table of exact hosts with this seed; returns the longest probe."""
    cdef uint32_t hash_, at, probe, worst = 0, to = first
    cdef const char *name
    cdef Py_ssize_t size
    cdef bytes replaced
    memset(slots, 0, sizeof(fg_slot) * (<size_t>mask + 1))
    for vhost in hosts:
        name = PyUnicode_AsUTF8AndSize(vhost.hostname, &size)
        if not vhost.hostname.isascii():
            replaced = vhost.hostname.encode("latin-1", "replace")
            name, size = <const char *>replaced, len(replaced)
        if size and not (size > 1 and name[0] == b"*" and name[1] == b"."):
            hash_ = fg_part_hash(<const uint8_t *>name, size, seed)
            at = hash_ & mask
            probe = 0
            while slots[at].to:
                at = (at + 1) & mask
                probe += 1
            slots[at].hash = hash_
            slots[at].to = to
            worst = max(worst, probe)
        to += 1
    return worst


cdef void _wildcards(Segment seg, uint32_t top, fg_hosts *out, list others) except *:
    """Write the hosts "" and "*.", and the head of the segment."""
    cdef uint32_t at
    root = Part()
    for hostname, value in others:
        if hostname == "":
            out.any = value
        else:
            descend(root, reversed(hostname[2:].encode().split(b"."))).below = value
    array, out.seed, places = trie(seg, root, b".", True)
    for at, part in places:
        (<fg_node *>(seg.p + at)).below = part.below or 0
    out.root = array[0]
    out.nodes.off, out.nodes.len = array
    (<fg_hosts *>(seg.p + top))[0] = out[0]


cdef void place_hosts(uint8_t *seg, list offsets) except *:
    """In the hosts of a listener, turn positions of groups in the directory (+ 1) into where they begin, in cache lines."""
    cdef fg_hosts *h = <fg_hosts *>seg
    cdef fg_slot *slots = <fg_slot *>(seg + h.exact.off)
    cdef fg_node *nodes = <fg_node *>(seg + h.nodes.off)
    cdef uint32_t i
    if h.any:
        h.any = offsets[h.any - 1] // 64
    for i in range(h.exact.len):
        if slots[i].to:
            slots[i].to = offsets[slots[i].to - 1] // 64
    for i in range(h.nodes.len):
        if nodes[i].below:
            nodes[i].below = offsets[nodes[i].below - 1] // 64
