from __future__ import annotations

import threading
from http.server import ThreadingHTTPServer

import pytest
from server import GATEWAY, ROUTE, Echo, Server


@pytest.fixture
def backend():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture
def serve(tmp_path, backend):
    """Start servers of the files in tmp_path; everything that they leave is killed when the test ends."""
    started = []
    runtime = tmp_path / "run"
    runtime.mkdir()

    def start(*options, route="/", files=None, after=None, until_ready=True):
        if after is None:
            (tmp_path / "gateway.yaml").write_text(GATEWAY % backend)
            (tmp_path / "route.yaml").write_text(ROUTE % route)
        server = Server(*(files or [tmp_path]), *options, log=tmp_path / "access.log", runtime=runtime, after=after)
        started.append(server)
        return server.ready() if until_ready else server

    yield start
    for server in started:
        server.kill()
