"""Keys of session tickets: when they are replaced, and what a successor goes on with."""

import json
import mmap
import os

from fastgate.core.secrets import TICKET_KEY
from fastgate.tickets import ROTATION, TicketKeys

START = 1_700_000_000.0


def sealed(keys):
    """Current, next and previous, as workers get them."""
    fd = keys.seal()
    try:
        content = mmap.mmap(fd, os.fstat(fd).st_size, prot=mmap.PROT_READ)[:]
    finally:
        os.close(fd)
    assert len(content) == 3 * TICKET_KEY == 240
    return [content[at : at + TICKET_KEY] for at in range(0, 240, TICKET_KEY)]


def made(now=START):
    keys = TicketKeys()
    assert keys.refresh(now)
    return keys


def test_the_next_key_becomes_the_current_one_and_that_the_previous():
    keys = made()
    current, following, previous = sealed(keys)
    assert len({current, following, previous}) == 3
    assert not keys.refresh(START + ROTATION - 1)
    assert sealed(keys) == [current, following, previous]
    assert keys.refresh(START + ROTATION)
    now = sealed(keys)
    assert now[::2] == [following, current]
    assert now[1] not in (current, following, previous)
    assert keys.due(START + ROTATION + 1) == ROTATION - 1


def test_keys_that_are_too_old_are_all_replaced():
    keys = made()
    before = sealed(keys)
    assert keys.refresh(START + 2 * ROTATION)
    assert not set(before) & set(sealed(keys))


def test_a_clock_that_was_set_back_makes_new_keys():
    keys = made()
    before = sealed(keys)
    assert keys.due(START - 1) == 0
    assert keys.refresh(START - 1)
    assert not set(before) & set(sealed(keys))


def test_a_successor_goes_on_with_the_latest():
    older, newer, successor = made(), made(START + 5), TicketKeys()
    successor.restore(json.loads(json.dumps([k.document() for k in (older, newer, older)])))
    assert sealed(successor) == sealed(newer)
    assert not successor.refresh(START + 6)
    successor.restore([older.document()])
    assert sealed(successor) == sealed(newer)


def test_keys_of_another_length_are_of_another_version():
    keys = TicketKeys()
    keys.restore([{"rotated": START, "keys": ["00"] * 3}, {"rotated": START, "keys": []}])
    assert keys.rotated == 0
