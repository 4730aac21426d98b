"""An external processor for Envoy that sets one header: `python -m benchmarks.ext_proc PORT`, what `Stamp` does as a filter.

It is the least that a Python server can do: its answer is always the same bytes, and it decodes nothing of what it is asked.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def message(number: int, content: bytes) -> bytes:
    """Return a field of a message in protobuf's encoding; the content has less than 128 bytes."""
    return bytes([number << 3 | 2, len(content)]) + content


HEADER = message(1, b"x-stamp") + message(3, b"hello")  # HeaderValue: key, raw_value
OPTION = message(1, HEADER) + bytes([3 << 3, 2])  # HeaderValueOption: header, append_action: OVERWRITE_IF_EXISTS_OR_ADD
COMMON = message(2, message(1, OPTION))  # CommonResponse: header_mutation, its set_headers
ANSWER = message(1, message(1, COMMON))  # ProcessingResponse: request_headers, its response


async def process(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:  # noqa: ARG001
    """Answer what a stream asks, which is once: only heads of requests are sent."""
    async for _ in requests:
        yield ANSWER


async def serve(port: int) -> None:
    """Serve until killed."""
    server = grpc.aio.server()
    handler = grpc.method_handlers_generic_handler(
        "envoy.service.ext_proc.v3.ExternalProcessor", {"Process": grpc.stream_stream_rpc_method_handler(process)}
    )
    server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
