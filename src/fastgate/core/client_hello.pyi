"""Types of the compiled module: the ClientHello parser."""

def parse_client_hello(
    data: bytes, *, max_size: int = 16384
) -> tuple[str, tuple[bytes, ...], int, bool, int] | None: ...
