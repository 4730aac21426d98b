"""HTTPS from files, as examples/https.yaml tells it: real clients, certificates that are renewed, processes that are replaced."""

import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
from secure import Authority
from server import TIMEOUT

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "https.yaml"
SCRIPT = "\n".join(re.findall(r"^#   (.*)$", EXAMPLE.read_text(), re.MULTILINE))


@pytest.fixture
def folder(tmp_path, backend):
    """The example, its backend, and the Secret that its commands make."""
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "https.yaml").write_text(EXAMPLE.read_text().replace("port: 8081", f"port: {backend}"))
    make(folder)
    return folder


def make(folder):
    """Run the commands that the example tells, and put what they write in its place at once."""
    scratch = folder.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    subprocess.run(["bash", "-euc", SCRIPT], cwd=scratch, check=True, capture_output=True)
    shutil.copy(scratch / "tls.crt", folder.parent / "tls.crt")
    (scratch / "www.yaml").rename(folder / "www.yaml")


class Client:
    """A connection that trusts a certificate, or resumes the session of another one that had a response."""

    def __init__(self, server, authority, before=None, shows=None):
        self.context = before.context if before else ssl.create_default_context(cafile=authority)
        if shows is not None:
            self.context.load_cert_chain(shows)
        plain = socket.create_connection(("127.0.0.1", server.tls_port), TIMEOUT)
        try:
            self.socket = self.context.wrap_socket(
                plain, server_hostname="localhost", session=before.socket.session if before else None
            )
        except OSError:
            plain.close()
            raise

    def get(self, path):
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        answer = b""
        while not answer.endswith(path.encode()):
            piece = self.socket.recv(65536)
            if not piece:
                raise ConnectionError(answer)
            answer += piece
        return int(answer.split()[1])


@pytest.fixture
def connect(folder):
    """Make connections that are closed when the test ends."""
    made = []

    def client(server, before=None, shows=None):
        made.append(Client(server, folder.parent / "tls.crt", before, shows))
        return made[-1]

    yield client
    for one in made:
        one.socket.close()


def curl(server, folder, url, *options):
    trust = ["--cacert", folder.parent / "tls.crt", "--resolve", f"localhost:{server.tls_port}:127.0.0.1"]
    done = subprocess.run(
        ["curl", "-sS", *trust, *options, url], capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    return done.returncode, done.stdout


def test_the_example_serves_https_and_redirects_to_it(serve, folder):
    server = serve(files=[folder])
    assert curl(server, folder, f"https://localhost:{server.tls_port}/hello") == (0, "/hello")
    assert curl(server, folder, f"https://localhost:{server.tls_port}/", "--tls-max", "1.2")[0] == 35
    code, location = curl(server, folder, f"http://127.0.0.1:{server.port}/x", "-w", "%{redirect_url}")
    assert (code, location) == (0, "https://127.0.0.1:8443/x")
    (certificate,) = json.loads(server.admin_page("/status")[1])["certificates"]
    assert (certificate["names"], certificate["state"]) == (["localhost"], "valid")
    key = [line for line in (folder.parent / "scratch/tls.key").read_text().splitlines() if "-----" not in line]
    for page in ("/config", "/status", "/metrics"):
        assert not any(line in server.admin_page(page)[1] for line in key), page
    assert server.stop()[0] == 0


def test_a_renewed_certificate_is_shown_and_open_connections_go_on(serve, folder, connect):
    server = serve("--workers", 2, files=[folder])
    client = connect(server)
    assert client.get("/a") == 200
    make(folder)
    server.wait(lambda: connect(server))  # trusts the new one alone
    assert client.get("/b") == 200
    assert server.stop()[0] == 0


def test_a_certificate_that_cannot_be_used_takes_its_listener_alone(serve, folder):
    server = serve(files=[folder])
    good = (folder / "www.yaml").read_text()
    (folder / "www.yaml").write_text(re.sub(r"tls\.key: [^}]+", "tls.key: aGVsbG8=", good))
    server.wait(lambda: "tls.key holds no private key that can be read" in server.admin_page("/status")[1])
    server.wait(lambda: not listens(server.tls_port))
    assert curl(server, folder, f"http://127.0.0.1:{server.port}/x", "-w", "%{http_code}") == (0, "301")
    (folder / "www.yaml").write_text(good)
    server.wait(lambda: curl(server, folder, f"https://localhost:{server.tls_port}/hello") == (0, "/hello"))


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), TIMEOUT).close()
    except ConnectionRefusedError:
        return False
    return True


def test_sessions_outlive_workers_and_the_manager(serve, folder, connect):
    server = serve("--workers", 2, files=[folder])
    client = connect(server)
    assert client.get("/a") == 200
    before = server.workers()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    server.wait(lambda: server.admin_page("/readyz")[0] == 200 and not set(server.workers()) & set(before))
    second = resumed(connect, server, client)
    server.process.send_signal(signal.SIGUSR2)
    assert server.process.wait(TIMEOUT) == 0
    server.wait(lambda: server.admin_page("/readyz")[0] == 200)
    resumed(connect, server, second)


def resumed(connect, server, client):
    """A connection that resumes the session of another one, which any worker lets it."""
    for _ in range(4):
        again = connect(server, client)
        assert again.get("/b") == 200
        assert again.socket.session_reused
    return again


CLIENTS = """  gatewayClassName: fastgate
  tls:
    frontend:
      default: {validation: {mode: %s, caCertificateRefs: [{group: "", kind: ConfigMap, name: clients}]}}
"""


@pytest.mark.parametrize(("mode", "without"), [("AllowValidOnly", None), ("AllowInsecureFallback", 200)])
def test_certificates_of_clients_are_verified(serve, folder, connect, tmp_path, mode, without):
    authority = Authority()
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "clients"},
        "data": {"ca.crt": authority.pem},
    }
    (folder / "clients.yaml").write_text(json.dumps(config_map))
    gateway = (folder / "https.yaml").read_text()
    (folder / "https.yaml").write_text(gateway.replace("  gatewayClassName: fastgate\n", CLIENTS % mode))
    server = serve(files=[folder])
    for issuer, expected in ((authority, 200), (Authority(), without), (None, without)):
        shown = tmp_path / "shown.pem"
        if issuer is not None:
            pair = issuer.issue("client")
            shown.write_bytes(pair.chain + pair.key)
        client = connect(server, shows=shown if issuer else None)
        if expected is None:
            with pytest.raises(OSError):  # noqa: PT011 - an alert, or the end before it was read
                client.get("/a")
        else:
            assert client.get("/a") == expected
    assert server.stop()[0] == 0
