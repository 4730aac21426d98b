"""Records on their way: to a real receiver, in batches, past its failures, and never in the way of requests."""

import logging
import socket

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from pydantic import ValidationError

from fastgate import Catalog, ConfigMapRef, Context, Request, Response, SecretRef
from fastgate_otlp import OTLPLogs, OTLPLogsConfig

NEVER = {"intervalSeconds": 3600}  # only a full batch is sent
SOON = {"initialSeconds": 0.001, "maxSeconds": 0.002}


@pytest.fixture
async def start(collector):
    """Start filters that are stopped when the test ends."""
    started = []

    async def one(**config):
        config = {"endpoint": collector.url, "batch": {"intervalSeconds": 0.01}} | config
        made = OTLPLogs(OTLPLogsConfig.model_validate(config))
        await made.start()
        started.append(made)
        return made

    yield one
    for made in started:
        await made.stop()


async def log(subject, *paths):
    """Log requests; return what was counted."""
    counts: dict[str, int] = {}
    for path in paths:
        context = Context()
        await subject.on_log(Request(path=path), context, Response())
        for name, n in context.counts.items():
            counts[name] = counts.get(name, 0) + n
    return counts


def paths(export):
    return [record.body.string_value.split()[1] for record in export.records]


# --- what is sent ------------------------------------------------------------------------------------------------------


async def test_an_export(start, collector):
    subject = await start(
        headers={"Authorization": SecretRef.of("Bearer t"), "x-tenant": "a"},
        resource={"service.name": "edge", "deployment.environment.name": "test", "replica": 3},
    )
    assert await log(subject, "/a") == {"otlp_records": 1}
    export = await collector.export()
    assert (export.path, paths(export)) == ("/v1/logs", ["/a"])
    sent = {name: export.headers[name] for name in ("authorization", "x-tenant", "content-type", "content-encoding")}
    assert sent == {
        "authorization": "Bearer t",
        "x-tenant": "a",
        "content-type": "application/x-protobuf",
        "content-encoding": "gzip",
    }
    resource = export.resource
    assert (resource["service.name"], resource["replica"]) == ("edge", 3)
    assert resource["host.name"] == socket.gethostname()
    assert len(resource["service.instance.id"]) == 36
    assert export.request.resource_logs[0].scope_logs[0].scope.name == "fastgate-otlp"


async def test_without_compression(start, collector):
    await log(await start(compression="none"), "/a")
    export = await collector.export()
    assert "content-encoding" not in export.headers
    assert paths(export) == ["/a"]


async def test_a_full_batch_does_not_wait(start, collector):
    subject = await start(batch=NEVER | {"maxRecords": 2})
    await log(subject, "/1", "/2", "/3", "/4", "/5")
    assert [paths(await collector.export()) for _ in range(2)] == [["/1", "/2"], ["/3", "/4"]]


async def test_stopping_sends_what_is_left(start, collector):
    subject = await start(batch=NEVER | {"maxRecords": 2})
    await log(subject, "/1", "/2", "/3")
    await subject.stop()
    assert [paths(await collector.export()) for _ in range(2)] == [["/1", "/2"], ["/3"]]
    assert (subject._exporter.dropped, subject._exporter.lost) == (0, 0)


# --- what goes wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_what_may_be_taken_later_is_sent_again(start, collector, status):
    for _ in range(3):
        collector.answers.put((status, {}, b""))
    subject = await start(retry=SOON)
    await log(subject, "/a")
    assert [paths(await collector.export()) for _ in range(4)] == [["/a"]] * 4
    await subject.stop()
    assert subject._exporter.lost == 0


async def test_the_collector_says_when_to_come_again(start, collector):
    """By itself the filter would wait for an hour."""
    collector.answers.put((503, {"retry-after": "0"}, b""))
    subject = await start(retry={"initialSeconds": 3600, "maxSeconds": 3600, "giveUpSeconds": 3600})
    await log(subject, "/a")
    assert [paths(await collector.export()) for _ in range(2)] == [["/a"]] * 2


@pytest.mark.parametrize("status", [400, 401, 404, 413, 500, 501, 302])
async def test_what_is_refused_is_lost_and_the_next_goes_on(start, collector, status):
    collector.answers.put((status, {"location": "/elsewhere"}, b""))
    subject = await start(retry=SOON)
    await log(subject, "/a")
    assert paths(await collector.export()) == ["/a"]
    counts = [await log(subject, "/b")]  # the loss is told here or with the next request
    assert paths(await collector.export()) == ["/b"]
    counts += [await log(subject, "/c"), await log(subject, "/d")]
    assert [one["otlp_lost"] for one in counts if "otlp_lost" in one] == [1]


async def test_what_a_collector_takes_in_part(start, collector, caplog):
    answer = ExportLogsServiceResponse()
    answer.partial_success.rejected_log_records = 2
    answer.partial_success.error_message = "too old"
    collector.answers.put((200, {}, answer.SerializeToString()))
    subject = await start(batch=NEVER | {"maxRecords": 3})
    with caplog.at_level(logging.WARNING, "fastgate.filter"):
        await log(subject, "/1", "/2", "/3")
        await collector.export()
        await subject.stop()
    assert subject._exporter.lost == 2
    assert "2 records are lost" in caplog.text
    assert "too old" in caplog.text


@pytest.mark.parametrize("answer", [b"no protobuf", b"x" * 200_000])
async def test_a_strange_answer_of_success_is_success(start, collector, answer):
    collector.answers.put((200, {}, answer))
    subject = await start()
    await log(subject, "/a")
    await collector.export()
    await subject.stop()
    assert subject._exporter.lost == 0
    assert collector.none_left()


async def test_a_full_queue_drops_and_counts(start, collector):
    """Records that are being sent have their place in the queue until they are taken."""
    collector.held.clear()
    subject = await start(batch=NEVER | {"maxRecords": 2, "maxQueue": 3})
    await log(subject, "/1", "/2")
    await collector.export()
    assert await log(subject, "/3", "/4", "/5") == {"otlp_records": 3, "otlp_dropped": 2, "otlp_lost": 0}
    collector.held.set()
    await subject.stop()
    assert paths(await collector.export()) == ["/3"]


async def test_it_gives_up_in_the_end(start, collector):
    for _ in range(1000):
        collector.answers.put((503, {}, b""))
    subject = await start(batch=NEVER | {"maxRecords": 1}, retry=SOON | {"giveUpSeconds": 0.05})
    await log(subject, "/a", "/b")
    tries = 0
    while paths(await collector.export()) == ["/a"]:
        tries += 1
    assert tries > 1
    assert subject._exporter.lost == 1


async def test_a_collector_that_is_not_there(start):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        subject = await start(endpoint=f"http://127.0.0.1:{taken.getsockname()[1]}/", batch=NEVER)
        await log(subject, "/a", "/b")
        await subject.stop()
    assert subject._exporter.lost == 2


async def test_a_collector_that_never_answers_does_not_hold_up_the_stop(start, collector):
    collector.held.clear()
    subject = await start(timeoutSeconds=0.05)
    await log(subject, "/a")
    await collector.export()
    await log(subject, "/b")
    await subject.stop()
    assert subject._exporter.lost == 2
    assert not subject._exporter._queue


# --- configurations ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"endpoint": "ftp://a/"}, "endpoint"),
        ({"endpoint": "http://u:p@a/"}, "credentials do not belong"),
        ({"headers": {"content-type": "x"}}, "written by the exporter"),
        ({"headers": {"a b": "x"}}, "headers"),
        ({"headers": {"a": "x\r\ny"}}, "headers"),
        ({"requestHeaders": ["Authorization"]}, "has secrets"),
        ({"responseHeaders": ["set-cookie"]}, "has secrets"),
        ({"batch": {"maxRecords": 10, "maxQueue": 5}}, "at most maxQueue"),
        ({"timeoutSeconds": 0}, "timeoutSeconds"),
        ({"url": "http://a/"}, "url"),
    ],
)
def test_wrong_configurations_are_refused(config, message):
    with pytest.raises(ValidationError, match=message):
        OTLPLogsConfig.model_validate({"endpoint": "http://a/"} | config)


def test_it_is_installed():
    config = {
        "endpoint": "https://collector.example/v1/logs",
        "headers": {"authorization": {"name": "otlp", "key": "token"}, "x-tenant": "a"},
        "ca": {"name": "ca", "key": "ca.crt"},
    }
    found = Catalog().check("OTLPLogs", config)
    assert (found.cls, found.phases) == (OTLPLogs, {"log"})
    canonical = found.validated(config)
    assert [ref for _, ref in found.references(canonical)] == [
        SecretRef(name="otlp", key="token"),
        ConfigMapRef(name="ca", key="ca.crt"),
    ]
    assert found.instance(canonical).config.headers["x-tenant"] == "a"
