"""Two backends for the examples: each answers with its name and the request that reached it."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


def serve(name: str, port: int) -> None:
    """Answer every request on a port of loopback until the process ends."""

    class Echo(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are two writes

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = f"{name}\n{self.requestline}\n{self.headers}".encode() + self.rfile.read(length)
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            pass

    ThreadingHTTPServer(("127.0.0.1", port), Echo).serve_forever()


if __name__ == "__main__":
    Thread(target=serve, args=("canary", 8082), daemon=True).start()
    serve("stable", 8081)
