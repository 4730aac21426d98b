"""Header fields as filters see them, against a small oracle."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fastgate import Headers, StaleError
from fastgate.plugins.headers import OF_REQUEST, OF_TRAILERS

NAMES = st.sampled_from(["a", "A", "x-b", "X-B", "Cookie", "set-cookie", "Set-Cookie", "c_d"])
VALUES = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]) | st.just("\t"), max_size=8)
PAIRS = st.lists(st.tuples(NAMES, VALUES.map(lambda v: v.strip(" \t"))), max_size=6)


class AgainstAList(RuleBasedStateMachine):
    """The oracle is a list of fields, edited as RFC 9110 speaks of fields."""

    @initialize(pairs=PAIRS, lazily=st.booleans())
    def begin(self, pairs, lazily):
        self.list = list(pairs)
        self.headers = Headers((lambda: iter(pairs)) if lazily else pairs)

    @rule(name=NAMES, value=VALUES)
    def set(self, name, value):
        self.headers[name] = value
        places = [n for n, (other, _) in enumerate(self.list) if other.lower() == name.lower()]
        at = places[0] if places else len(self.list)
        self.list.insert(at, (name, value.strip(" \t")))
        for n in reversed(places):
            del self.list[n + 1]

    @rule(name=NAMES, value=VALUES)
    def add(self, name, value):
        self.headers.add(name, value)
        self.list.append((name, value.strip(" \t")))

    @rule(name=NAMES)
    def remove(self, name):
        del self.headers[name]
        self.list = [(other, value) for other, value in self.list if other.lower() != name.lower()]

    @rule(name=NAMES, value=VALUES)
    def setdefault(self, name, value):
        if not self.values(name):
            self.list.append((name, value.strip(" \t")))
        assert self.headers.setdefault(name, value) == self.joined(name)

    @rule(name=NAMES)
    def pop(self, name):
        assert self.headers.pop(name, None) == self.joined(name)
        self.list = [(other, value) for other, value in self.list if other.lower() != name.lower()]

    @rule(name=NAMES)
    def read(self, name):
        assert self.headers.getall(name) == self.values(name)
        assert self.headers.get(name) == self.joined(name)
        assert (name in self.headers) == bool(self.values(name))

    @rule()
    def replay(self):
        again = Headers([*self.headers.copy().items()], journal=[("set", "x-new", "1")])
        assert again.items() == [*((n, v) for n, v in self.list), ("x-new", "1")]

    @invariant()
    def all(self):
        if hasattr(self, "list") and len(self.list) % 2:  # otherwise edits pile up unread
            assert self.headers.items() == self.list
            assert self.headers.raw == tuple((n.encode("latin-1"), v.encode("latin-1")) for n, v in self.list)
            assert list(self.headers) == list(dict.fromkeys(n.lower() for n, _ in self.list))
            assert len(self.headers) == len(set(self.headers))
            assert dict(self.headers) == {name: self.joined(name) for name in self.headers}
            assert self.headers == Headers(self.list)

    def values(self, name):
        return [value for other, value in self.list if other.lower() == name.lower()]

    def joined(self, name):
        values = self.values(name)
        if not values or name.lower() == "set-cookie":
            return values[0] if values else None
        return ("; " if name.lower() == "cookie" else ", ").join(values)


TestAgainstAList = AgainstAList.TestCase


def test_edits_do_not_need_the_fields():
    def never():
        raise AssertionError("decoded")

    headers = Headers(never)
    headers["x-a"] = "1"
    headers.add("x-b", "2")
    del headers["x-c"]
    headers.update({"x-d": "3"})
    assert headers.journal == [
        ("set", "x-a", "1"),
        ("add", "x-b", "2"),
        ("remove", "x-c", ""),
        ("set", "x-d", "3"),
    ]


@pytest.mark.parametrize("name", ["", " a", "a b", "a:", "a\r\n", "ä", "a\0", "a" * 9 + "\n"])
def test_a_name_is_a_token(name):
    headers = Headers()
    for edit in (
        lambda: headers.__setitem__(name, "v"),
        lambda: headers.add(name, "v"),
        lambda: headers.__delitem__(name),
        lambda: Headers({name: "v"}),
    ):
        with pytest.raises(ValueError, match="is not a field name"):
            edit()
    assert headers.journal == []


@given(
    st.characters().filter(lambda c: (c < " " and c != "\t") or c == "\x7f" or c > "\xff"), st.sampled_from(["", "a"])
)
def test_a_value_has_no_control_characters(character, around):
    headers = Headers()
    for edit in (headers.__setitem__, headers.add, lambda n, v: Headers([(n, v)])):
        with pytest.raises(ValueError, match="the value of field x-a has"):
            edit("x-a", around + character + around)
    assert headers.journal == []


@pytest.mark.parametrize("wrong", [None, 1, b"x", ["x"]])
def test_names_and_values_are_text(wrong):
    headers = Headers()
    for edit in (headers.__setitem__, headers.add):
        with pytest.raises(TypeError):
            edit("x-a", wrong)
        with pytest.raises(TypeError):
            edit(wrong, "x")
    with pytest.raises(TypeError):
        headers[wrong]
    assert wrong not in headers
    assert headers.journal == []


def test_a_str_of_another_class_is_kept_as_text():
    class Odd(str):
        __slots__ = ()

        def __str__(self):
            return "odd"

    headers = Headers({Odd("x-a"): Odd("1")})
    headers[Odd("x-b")] = Odd("2 ")
    assert headers.items() == [("x-a", "1"), ("x-b", "2")]
    assert {type(part) for pair in headers.items() for part in pair} == {str}


@pytest.mark.parametrize(
    "name",
    ["Connection", "content-length", "TE", "trailer", "Transfer-Encoding", "upgrade", "keep-alive", "proxy-connection"],
)
def test_what_frames_a_message_is_not_edited(name):
    headers = Headers({name: "x"}, names=OF_REQUEST)
    for edit in (lambda: headers.__setitem__(name, "x"), lambda: headers.add(name, "x"), lambda: headers.pop(name)):
        with pytest.raises(ValueError, match="frames the message or belongs to the connection"):
            edit()
    assert headers[name] == "x"
    with pytest.raises(ValueError, match="frames"):
        Headers({name: "x"}, made=True)


def test_the_authority_of_a_request_is_not_edited_by_its_field():
    with pytest.raises(ValueError, match=r"assign request\.authority"):
        Headers(names=OF_REQUEST)["Host"] = "b"
    Headers()["host"] = "b"


def test_trailers_are_read_only():
    trailers = Headers({"etag": "1"}, names=OF_TRAILERS)
    with pytest.raises(ValueError, match="cannot be edited"):
        trailers["etag"] = "2"
    assert trailers["etag"] == "1"


def test_made_up_names_do_not_pile_up():
    headers = Headers()
    for n in range(5000):
        headers[f"x-made-up-{n}"] = "1"
    assert len(headers._names.known) < 2000


def test_equality_is_of_values_by_name():
    headers = Headers([("a", "1"), ("b", "2"), ("A", "3")])
    assert headers == Headers([("B", "2"), ("A", "1"), ("a", "3")])
    assert headers != Headers([("b", "2"), ("a", "3"), ("a", "1")])
    assert Headers({"a": "1"}) == {"A": "1"}
    assert Headers({"a": "1"}) != {"a": 1}
    assert Headers() != 1
    with pytest.raises(TypeError):
        hash(headers)


def test_a_copy_has_edits_of_its_own():
    headers = Headers({"a": "1"})
    headers["b"] = "2"
    copy = headers.copy()
    copy["c"] = "3"
    assert dict(headers) == {"a": "1", "b": "2"}
    assert copy.journal == [("set", "c", "3")]


def test_what_authenticates_is_not_shown():
    shown = repr(Headers([("Authorization", "Bearer x1"), ("Cookie", "x2"), ("Set-Cookie", "x3"), ("a", "shown")]))
    assert "shown" in shown
    assert not any(secret in shown for secret in ("x1", "x2", "x3"))


def test_missing_fields():
    headers = Headers()
    with pytest.raises(KeyError):
        headers["a"]
    with pytest.raises(KeyError):
        headers.pop("a")
    assert headers.get("a") is None
    assert headers.get("a", 7) == 7
    assert headers.getall("a") == []


def test_nothing_works_after_the_end():
    record = []
    headers = Headers(lambda: record)
    headers._close()
    for use in (
        lambda: headers["a"],
        lambda: headers.__setitem__("a", "b"),
        lambda: headers.__delitem__("a"),
        lambda: headers.get("a"),
        lambda: headers.journal,
        lambda: "a" in headers,
        lambda: list(headers),
        lambda: len(headers),
        lambda: headers == {},
        lambda: dict(headers),
        lambda: headers.raw,
    ):
        with pytest.raises(StaleError, match="after its request had ended"):
            use()
    assert isinstance(headers, Headers)
    assert repr(headers) == "<Headers of a request that has ended>"
