"""No value of a Secret, and no credential of a header filter, is in anything that fastgate shows."""

import base64
import json

import pytest
from server import GATEWAY, ROUTE, fastgate

from fastgate import ConfigurationError, Gateway

CANARY = "canary-7f3a9"
ENCODED = base64.b64encode(f"--{CANARY}--".encode()).decode()  # its text begins at a multiple of three or not
SECRET = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\n"
HOLDING = {
    "data": SECRET + f"data: {{k: {ENCODED}}}",
    "stringData": SECRET + f"stringData: {{k: {CANARY}}}",
    "what kubectl applied last": SECRET + f'  annotations: {{last-applied: \'{{"data": "{CANARY}"}}\'}}\ndata: {{}}',
    "a misspelt field": SECRET + f"strngData: {{k: {CANARY}}}",
    "a list": f"apiVersion: v1\nkind: List\nitems: [{{apiVersion: v1, kind: Secret, metadata: {{name: s}}, stringData: {{k: {CANARY}}}}}]",
}
REFUSED = {
    "text as data": SECRET + f"data: {{k: '{CANARY}!'}}",
    "no map": SECRET + f"stringData: {CANARY}",
    "a list of values": SECRET + f"data: [{CANARY}]",
    "a map as value": SECRET + f"stringData: {{k: {{z: {CANARY}}}}}",
    "a type": SECRET + f"type: [{CANARY}]",
    "another version": SECRET.replace("v1", "v2") + f"stringData: {{k: {CANARY}}}",
    "no name": SECRET.replace("name", "nam") + f"stringData: {{k: {CANARY}}}",
    "a key twice": SECRET + f"stringData:\n  k: {CANARY}\n  k: {CANARY}",
    "an open quote": SECRET + f'stringData: {{k: "{CANARY}',
    "a second colon": SECRET + f"stringData:\n  k: {CANARY}: {CANARY}",
    "an alias": SECRET + f"stringData:\n  k: *{CANARY}",
    "not what its tag says": SECRET + f"stringData:\n  k: !!int {CANARY}",
    "a tag": SECRET + f"stringData:\n  k: !{CANARY} x",
    "an anchor around itself": SECRET + f"stringData: {{k: &{CANARY} {{l: *{CANARY}}}}}",
    "bytes that are no text": SECRET + f'stringData: {{k: "{CANARY}\x07"}}',
}  # fmt: skip
FILTER = """
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier: {set: [{name: Authorization, value: "Bearer %s"}], add: [{name: Cookie, value: "%s"}]}
"""


def shows_nothing(*texts):
    for text in texts:
        for secret in (CANARY, ENCODED):
            assert secret not in text


def commands(*paths):
    """What every command that reads files prints about these."""
    explained = ("-f", *[x for path in paths for x in ("-f", path)][1:], "GET", "http://a/")
    for line in (
        ("validate", *paths),
        ("validate", "--json", *paths),
        ("explain", *explained),
        ("explain", "--json", *explained),
    ):
        done = fastgate(*line)
        yield done.stdout + done.stderr


@pytest.mark.parametrize("document", REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_with_a_secret_is_told_without_it(tmp_path, document):
    with pytest.raises(ConfigurationError) as told:
        Gateway(document).start()
    shows_nothing(str(told.value), repr(told.value), *map(repr, told.value.problems))


def test_commands_that_read_files_show_none(tmp_path, backend):
    (tmp_path / "gateway.yaml").write_text(GATEWAY % backend + "---" + ROUTE % "/")
    for n, document in enumerate((*HOLDING.values(), *REFUSED.values())):
        (tmp_path / f"secret-{n}.yaml").write_text(document.replace("name: s", f"name: s{n}"))
    texts = list(commands(tmp_path))
    assert "secret-" in texts[0]
    shows_nothing(*texts)


def test_a_running_gateway_shows_none(serve, tmp_path):
    for n, document in enumerate(HOLDING.values()):
        (tmp_path / f"secret-{n}.yaml").write_text(document.replace("name: s", f"name: s{n}"))
    server = serve("--workers", 1)
    (tmp_path / "route.yaml").write_text(ROUTE % "/next" + FILTER % (CANARY, CANARY))
    server.wait(lambda: server.get("/next")[0] == 200 and server.get("/")[0] == 404)
    for n, document in enumerate(REFUSED.values()):
        (tmp_path / f"refused-{n}.yaml").write_text(document.replace("name: s", f"name: r{n}"))
    server.wait(lambda: len(json.loads(server.admin_page("/status")[1])["problems"]) >= len(REFUSED))
    pages = {path: server.admin_page(path)[1] for path in ("/config", "/status", "/metrics")}
    assert "Authorization" in pages["/config"]
    at = f"127.0.0.1:{server.admin}"
    shown = [
        done.stdout + done.stderr
        for done in (fastgate("status", "--admin", at), fastgate("status", "--json", "--admin", at))
    ]
    assert "HTTPRoute/default/r" in shown[0]
    code, text = server.stop()
    assert code == 0
    shows_nothing(*pages.values(), *shown, text, (tmp_path / "access.log").read_text())
