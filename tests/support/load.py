"""Clients that never stop asking, and what became of every request."""

import contextlib
import http.client
import threading


class Load:
    """A context in which threads send requests, half of them on connections that stay open, some with bodies.

    A client may send a request again when its connection was closed before a byte of the answer came (RFC 9110 section
    9.2.2), as every HTTP client does, but only on a connection that has answered before: a new one must be served.
    """

    def __init__(self, port, clients=8, host="127.0.0.1", enter=lambda: None):
        self.done = 0
        self.failures = []
        self.retries = 0
        self._address = host, port
        self._enter = enter  # what each thread does first, such as to go to another network
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask, args=(n,), daemon=True) for n in range(clients)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, number):
        self._enter()
        connection, answered = None, 0
        body = b"x" * 5000 if number % 4 == 1 else None
        while not self._ending.is_set():
            if connection is None:
                connection, answered = http.client.HTTPConnection(*self._address, timeout=10), 0
            try:
                connection.request("POST" if body else "GET", f"/{number}", body)
                answer = connection.getresponse()
                text = answer.read()
                if answer.status != 200 or text != (body or f"/{number}".encode()):
                    self.failures.append((answer.status, text[:100]))
                answered += 1
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as e:
                if not answered:
                    self.failures.append(repr(e))
                self.retries += 1
                connection.close()
                connection = None
                continue
            except (OSError, http.client.HTTPException) as e:
                self.failures.append(repr(e))
                connection.close()
                connection = None
                continue
            with self._lock:
                self.done += 1
            if number % 2:
                connection.close()
                connection = None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.close()
