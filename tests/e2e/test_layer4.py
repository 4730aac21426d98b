"""Layer 4 from files, as examples/tcp-udp.yaml and examples/tls.yaml tell it: real clients, and the lines of the access log."""

import base64
import json
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest
from secure import Authority
from server import TIMEOUT, free_port

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SECRET = """apiVersion: v1
kind: Secret
metadata: {{name: www}}
type: kubernetes.io/tls
data: {{tls.crt: {}, tls.key: {}}}
"""


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    return folder


def lines(tmp_path, server, n):
    """The first lines of the access log, by protocol and server name."""
    path = tmp_path / "access.log"
    server.wait(lambda: path.read_text().count("\n") >= n)
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return {(line["protocol"], line.get("server_name", "")): line for line in found}


def curl(*arguments):
    command = ["curl", "-sS", "--max-time", str(int(TIMEOUT)), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT + 5, check=False)
    return done.returncode, done.stdout


def test_tcp_and_udp_of_one_port(serve, folder, backend, tmp_path):
    """The backend of HTTP stands for the resolver over TCP, an echo beside it for the one over UDP."""
    port = free_port()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as echo,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        echo.settimeout(TIMEOUT)
        client.settimeout(TIMEOUT)
        echo.bind(("127.0.0.1", backend))
        text = (EXAMPLES / "tcp-udp.yaml").read_text()
        text = text.replace("port: 5300", f"port: {backend}").replace("port: 53,", f"port: {port},")
        (folder / "dns.yaml").write_text(text)
        server = serve(files=[folder])
        assert curl(f"http://127.0.0.1:{port}/over-tcp") == (0, "/over-tcp")
        client.sendto(b"question", ("127.0.0.1", port))
        question, session = echo.recvfrom(100)
        echo.sendto(b"answer to " + question, session)
        assert client.recvfrom(100) == (b"answer to question", ("127.0.0.1", port))
        name = 'listener="Gateway/default/dns/udp"'
        assert server.metric(f"fastgate_listener_connections_total{{{name}}}") == 1
        server.process.terminate()
        assert server.process.wait(TIMEOUT) == 0  # the session is silent, and ends
    found = lines(tmp_path, server, 2)
    assert found["TCP", ""]["route"] == "TCPRoute/default/dns"
    assert (found["UDP", ""]["route"], found["UDP", ""]["bytes_sent"]) == ("UDPRoute/default/dns", 18)


@pytest.fixture
def secure(tmp_path):
    """A TLS server that answers every connection with the server name; its port and its authority's file."""
    authority = Authority()
    pair = authority.issue("www.example.com")
    (tmp_path / "pair.pem").write_bytes(pair.chain + pair.key)
    (tmp_path / "authority.pem").write_text(authority.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pair.pem")
    listener = socket.create_server(("127.0.0.1", 0))

    def answer():
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            with context.wrap_socket(plain, server_side=True) as s:
                s.recv(65536)
                s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nthrough")

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    yield listener.getsockname()[1], tmp_path / "authority.pem"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(TIMEOUT)


def test_tls_passes_through_and_ends_on_one_port(serve, folder, backend, secure, tmp_path):
    port, trusted = secure
    authority = Authority("here")
    (tmp_path / "here.pem").write_text(authority.pem)
    pair = authority.issue("localhost")
    (folder / "www.yaml").write_text(
        SECRET.format(*(base64.b64encode(part).decode() for part in (pair.chain, pair.key)))
    )
    text = (EXAMPLES / "tls.yaml").read_text()
    (folder / "tls.yaml").write_text(
        text.replace("port: 9443", f"port: {port}").replace("port: 8081", f"port: {backend}")
    )
    server = serve(files=[folder])
    at = server.tls_port

    def get(name, path, ca):
        return curl("--cacert", ca, "--resolve", f"{name}:{at}:127.0.0.1", f"https://{name}:{at}{path}")

    assert get("www.example.com", "/", trusted) == (0, "through")  # the backend's certificate, and no other
    assert get("localhost", "/plain", tmp_path / "here.pem") == (0, "/plain")
    assert get("other.example.com", "/", trusted)[0] == 35  # no route: closed before a handshake
    shown = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{at}", "-servername", "www.example.com", "-CAfile", trusted,
         "-verify_return_error", "-brief"],
        input="GET", capture_output=True, text=True, timeout=TIMEOUT, check=False,
    )  # fmt: skip
    assert "Verification: OK" in shown.stderr
    assert server.metric('fastgate_ended_total{reason="unknown_server_name"}') == 1
    assert server.stop()[0] == 0
    found = lines(tmp_path, server, 3)
    assert found["TLS", "www.example.com"]["route"] == "TLSRoute/default/passthrough"
    assert found["TLS", "localhost"]["route"] == "TLSRoute/default/terminate"
