"""Requests that a gateway served, at the collector."""

from fastgate.testing import Use
from fastgate_otlp import OTLPLogs

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_a_request_is_logged_when_it_is_over(fastgate_gateway, collector, values):
    config = {"endpoint": collector.url, "batch": {"intervalSeconds": 0.01}}
    gateway = fastgate_gateway(Use(OTLPLogs, config))
    await gateway.async_client.post("/a?b=c", content=b"12345", headers={"traceparent": TRACEPARENT})
    (record,) = (await collector.export()).records
    found = values(record.attributes)
    assert (found["url.path"], found["url.query"], found["http.request.method"]) == ("/a", "b=c", "POST")
    assert (found["http.response.status_code"], found["fastgate.route"]) == (200, "HTTPRoute/default/test")
    assert found["http.request.body.size"] == 5
    assert 0 < found["http.server.request.duration"] < 60
    assert record.trace_id.hex() == TRACEPARENT[3:35]
