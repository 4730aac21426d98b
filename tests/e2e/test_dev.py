"""`fastgate run --dev`: filters are reloaded when their sources change."""

import http.client
import threading

import pytest
from distributions import distribution
from server import Echo

FILTER = """\
import fastgate

class Say(fastgate.Filter):
    async def on_request(self, request, context):
        {body}
"""
OLD = """\
import fastgate

class Say(fastgate.Filter):
    async def on_response(self, request, context, response):
        response.headers["x-say"] = "one"
"""
FILTERED = """
apiVersion: fastgate.dev/v1alpha1
kind: Filter
metadata: {name: say}
spec: {type: Say, execution: %s, targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r}]}
"""


def says(word):
    return FILTER.format(body=f"return fastgate.Response(200, '{word}')")


@pytest.fixture
def write(tmp_path_factory, monkeypatch):
    """Write the module of the filter, and return its file."""
    folder = tmp_path_factory.mktemp("plugins")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    distribution(folder, "acme-say", {"Say": "acme_say:Say"}, acme_say=says("one"))

    def write(text):
        new = folder / "new"
        new.write_text(text)
        return new.replace(folder / "acme_say.py")  # at once, as editors do

    return write


@pytest.fixture
def held(monkeypatch):
    """Two events: a request came to the backend, and it may be answered."""
    came, answered, answer = threading.Event(), threading.Event(), Echo.do_GET

    def wait(self):
        came.set()
        answered.wait(10)
        answer(self)

    monkeypatch.setattr(Echo, "do_GET", wait)
    return came, answered


@pytest.mark.parametrize("execution", ["Offloaded", "Inline"])
def test_a_changed_filter_is_reloaded_and_one_that_cannot_be_is_not(serve, write, tmp_path, execution):
    (tmp_path / "filter.yaml").write_text(FILTERED % execution)
    server = serve("--dev", "--workers", 2)
    assert server.get("/") == (200, "one")
    server.wait(lambda: "filters are reloaded when these change" in server.text)
    answers = []
    write(says("two"))
    server.wait(lambda: answers.append(server.get("/")) or answers[-1] == (200, "two"))
    assert set(answers) <= {(200, "one"), (200, "two")}
    server.wait(lambda: "filters are reloaded\n" in server.text)
    workers = server.workers()
    file = write(says("three") + "\n1 / 0\n")
    line = len(file.read_text().splitlines())
    server.wait(lambda: f"ZeroDivisionError: division by zero ({file}:{line})" in server.text)
    write(says("three").replace("):", ")", 1))
    server.wait(lambda: f"SyntaxError: expected ':' (acme_say.py, line 3) ({file}:3)" in server.text)
    assert server.get("/") == (200, "two")
    assert server.workers() == workers
    assert "the plugin process of worker" not in server.text  # it ends with its worker
    write(says("four"))
    server.wait(lambda: server.get("/") == (200, "four"))


@pytest.mark.parametrize("execution", ["Offloaded", "Inline"])
def test_requests_end_with_the_filter_that_they_began_with(serve, write, tmp_path, held, execution):
    (tmp_path / "filter.yaml").write_text(FILTERED % execution)
    write(OLD)
    came, answered = held
    server = serve("--dev", "--workers", 1)
    server.wait(lambda: "filters are reloaded when these change" in server.text)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", "/")
    assert came.wait(10)
    write(says("two"))
    server.wait(lambda: "filters are reloaded\n" in server.text)
    assert server.get("/") == (200, "two")
    answered.set()
    answer = connection.getresponse()
    assert (answer.status, answer.headers["x-say"]) == (200, "one")
    connection.close()
