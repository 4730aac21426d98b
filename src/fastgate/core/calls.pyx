"""What every call of a filter costs, compiled: its objects, and the way of an inline one from its record to its verdict.

The classes that authors see (`fastgate.Headers`, `Request`, `Context`) derive from the bases here, which have what each request
pays for; what is asked for now and then is in the Python of plugins/. An object whose request has ended refuses by its class
(plugins/stale.py): nothing is checked here while it lives, and it has nothing left then but Python objects and None.
"""

from types import CoroutineType as CoroutineType_

cimport cython
from cpython.object cimport PyObject

from fastgate.core.filters cimport FG_CALL_MORE, Call, Runner, call_text, simple_verdict
from fastgate.core.filters import PHASES, TEXTS

cdef extern from "Python.h":
    ctypedef PyObject *(*newfunc)(PyObject *, PyObject *, PyObject *) except NULL
    ctypedef enum PySendResult:
        PYGEN_RETURN, PYGEN_ERROR, PYGEN_NEXT
    int Py_tp_new
    void *PyType_GetSlot(PyObject *cls, int slot)
    const char *PyUnicode_AsUTF8AndSize(PyObject *text, Py_ssize_t *size)
    PySendResult PyIter_Send(PyObject *coroutine, PyObject *value, PyObject **result) except PYGEN_ERROR
    object PyObject_CallFunctionObjArgs(PyObject *callable, PyObject *a, PyObject *b, void *end)
    Py_ssize_t Py_REFCNT(PyObject *o)
    void Py_DECREF(PyObject *o)
    void PyErr_Clear()

cdef object CoroutineType = CoroutineType_
cdef int REQUEST = PHASES.index("request")
cdef int ID = TEXTS["id"]

# Of plugins/, whose modules import this one: see `load`.
cdef object Headers = None, Request = None, Context = None, Response = None, RequestRecord = None
cdef object OF_REQUEST = None, UNREAD = None, DENIED = None, wire = None, checked_value = None


cdef int load() except -1:
    """Import what is written in Python, on first use."""
    global Headers, Request, Context, Response, RequestRecord, OF_REQUEST, UNREAD, DENIED, wire, checked_value
    from fastgate.plugins import body, context, headers, request, response, stage
    from fastgate.plugins import wire as wire_

    Headers, OF_REQUEST, checked_value = headers.Headers, headers.OF_REQUEST, headers.checked_value
    Request, Response, Context, UNREAD = request.Request, response.Response, context.Context, body.UNREAD
    DENIED, wire, RequestRecord = stage.DENIED, wire_, wire_.RequestRecord
    return 0


cdef object made(object cls):
    """A new object of a class written in Python: `cls.__new__(cls)`."""
    cdef PyObject *o = (<newfunc>PyType_GetSlot(<PyObject *>cls, Py_tp_new))(<PyObject *>cls, <PyObject *>(), NULL)
    cdef object out = <object>o
    Py_DECREF(o)
    return out


# --- objects ----------------------------------------------------------------------------------------------------------------------

cdef class HeadersBase:
    """The edits of fields: notes in a journal, for which the fields themselves are not needed.

    Attributes:
        journal: the edits, in order. Only appended to.
    """

    cdef public list journal
    cdef public object _names           # plugins.headers.Names
    cdef object source                  # of the fields: a Call, or what returns them; None when there is none
    cdef public list _fields            # None until they are needed
    cdef public Py_ssize_t _applied     # edits of the journal that are in `_fields`

    @property
    def _load(self):
        return self.source.fields if isinstance(self.source, Call) else self.source

    @_load.setter
    def _load(self, load):
        self.source = load

    def __setitem__(self, name, value):
        self.journal.append(("set", self.admitted(name), sendable(name, value)))

    def add(self, name, value):
        """Put one more field beside those of the same name."""
        self.journal.append(("add", self.admitted(name), sendable(name, value)))

    def __delitem__(self, name):
        self.journal.append(("remove", self.admitted(name), ""))

    cdef object admitted(self, object name):
        cdef dict known = self._names.known
        return known.get(name) or self._names.admit(name)


cdef object sendable(object name, object value):
    """The value as it is sent: itself when it is printable ASCII without spaces around, as nearly all are."""
    cdef const char *p
    cdef Py_ssize_t n = 0, i
    if type(value) is str:
        p = PyUnicode_AsUTF8AndSize(<PyObject *>value, &n)
        if p == NULL:
            PyErr_Clear()
        elif n == 0 or (p[0] != c" " and p[n - 1] != c" "):
            i = 0
            while i < n and c" " <= p[i] <= c"~":  # char may be signed: no byte of another character is in between
                i += 1
            if i == n:
                return value
    if checked_value is None:
        load()
    return checked_value(name, value)


cdef class RequestBase:
    """What a request is read from, and what has been read: each part when it is first asked for.

    Attributes:
        journal: the edits, in order; those of `headers` too.
    """

    cdef Call call                      # None: made without an engine, or ended
    cdef object record                  # RequestRecord
    cdef public list journal
    cdef public list _target
    cdef public object _connection, _place, _headers, _trailers, _body

    @property
    def _record(self):
        if self.record is None and self.call is not None:
            self.record = RequestRecord(self.call)
        return self.record

    @_record.setter
    def _record(self, record):
        self.record, self.call = record, None

    @property
    def headers(self):
        """The header fields."""
        cdef HeadersBase headers
        if self._headers is None:
            if Headers is None:
                load()
            headers = made(Headers)
            headers._names, headers.journal = OF_REQUEST, self.journal
            headers.source = self.call if self.call is not None else self.record.fields
            self._headers = headers
        return self._headers


cdef class ContextBase:
    """A request's surroundings.

    Attributes:
        filter: the Filter resource that is called, `namespace/name`.
        request_id: as `Request.id`.
        outcome: how the request ended, in `on_log`; None before.
    """

    cdef Call call                      # whose traceparent has not been read yet; or None
    cdef public str filter, request_id
    cdef public object outcome, _traceparent
    cdef public double _deadline        # on the clock of time.monotonic()
    cdef public object _log             # LogFields, None before the first
    cdef dict counts_, state

    @property
    def counts(self):
        """What `count` has added up so far."""
        if self.counts_ is None:
            self.counts_ = {}
        return self.counts_

    @property
    def _record(self):
        return None if self.call is None else RequestRecord(self.call)

    @_record.setter
    def _record(self, _):
        self.call = None

    @property
    def _state(self):
        if self.state is None:
            self.state = {}
        return self.state

    def _clear(self):
        """Let go of what filters have kept here."""
        self.state = self.counts_ = self._log = self.call = None


@cython.final
cdef class Exchange:
    """What a stage holds of an exchange, from its first call to its last."""

    cdef readonly RequestBase request
    cdef readonly ContextBase context
    cdef public object response         # Response, None before there is one

    def __cinit__(self, Call call):
        if Request is None:
            load()
        self.request = made(Request)
        self.request.call = call
        self.request.journal = wire.earlier_edits(call, response=False) if call.c.request_edits.len else []
        self.request._body = UNREAD
        self.context = made(Context)
        self.context.call = call
        self.context.filter = ""
        self.context.request_id = call_text(call, ID)
        self.context._deadline = call.c.deadline_ns * 1e-9

    cdef int end(self) except -1:
        """Refuse every further use of what filters have kept."""
        if in_use(<PyObject *>self.request):
            self.request._close()
        else:
            if in_use(<PyObject *>self.request._headers):
                self.request._headers._close()
            if in_use(<PyObject *>self.request._trailers):
                self.request._trailers._close()
        if in_use(<PyObject *>self.context):
            self.context._close()
        if self.response is not None:
            self.response._close()
        return 0

    def close(self):
        """Refuse every further use of what filters have kept."""
        self.end()

    def end_bodies(self, Call call):
        """Let request and response have the trailer fields that are there by now."""
        self.request._end_body(call.trailers())
        if self.response is not None:
            self.response._end_body(call.trailers(response=True))


cdef inline bint in_use(PyObject *o) noexcept:
    """Whether anybody but its owner, who asks, has a reference to an object."""
    return o != <PyObject *>None and Py_REFCNT(o) > 1


# --- calls ------------------------------------------------------------------------------------------------------------------------

cdef class StageBase:
    """The exchanges that a stage knows, and its request phase when it runs inline."""

    cdef readonly dict _exchanges       # by number: those with later calls
    cdef public tuple _on_request       # of (member, method, what runs it elsewhere)

    def __cinit__(self, *_, **__):
        self._exchanges = {}

    def _entered(self, Call call):
        """Return the exchange of a call that begins."""
        return self.enter(call)

    def _left(self, Call call, Exchange exchange):
        """Let go of the exchange when that was its last call."""
        self.leave(call, exchange)

    cdef Exchange enter(self, Call call):
        cdef Exchange exchange = self._exchanges.get(call.c.exchange) if self._exchanges else None
        if exchange is None:
            exchange = Exchange.__new__(Exchange, call)
        else:
            exchange.context._deadline = call.c.deadline_ns * 1e-9
            if call.c.trailers.len or call.c.response_trailers.len:
                exchange.end_bodies(call)
        if call.c.flags & FG_CALL_MORE:
            self._exchanges[call.c.exchange] = exchange
        return exchange

    cdef int leave(self, Call call, Exchange exchange) except -1:
        if not call.c.flags & FG_CALL_MORE:
            if self._exchanges:
                self._exchanges.pop(call.c.exchange, None)
            exchange.end()
        return 0

    cdef bytes run_request(self, Call call):
        """What `Stage.run` does in this phase, for callbacks that wait for nothing."""
        cdef Exchange exchange = self.enter(call)
        cdef bytes verdict
        try:
            verdict = self.requested(call, exchange)
            if exchange.context._log is not None:
                call.say(exchange.context._log._news())
            return call.reported(verdict)
        finally:
            self.leave(call, exchange)

    cdef bytes requested(self, Call call, Exchange exchange):
        cdef bytes simple
        cdef object journal
        cdef Py_ssize_t before = len(exchange.request.journal)
        cdef double took
        for member, method, _ in self._on_request:
            exchange.context.filter = member.name
            call.enter()
            try:
                answer = PyObject_CallFunctionObjArgs(
                    <PyObject *>method, <PyObject *>exchange.request, <PyObject *>exchange.context, NULL)
                if answer is not None:
                    answer = checked(answer)
                took = call.leave(member.position)
            except Exception as e:
                took = call.leave(member.position)
                call.fail()
                answer = member.failed(e, call)
            if took > <double>member.slow_after:
                member.slow(took, call)
            if exchange.context.counts_:
                call.count(member.position, exchange.context.counts_)
                exchange.context.counts_.clear()
            if answer is DENIED:
                return wire.failed(call)
            if answer is not None:
                return wire.answered(call, answer)
        journal = exchange.request.journal[before:] if before else exchange.request.journal
        simple = simple_verdict(call, journal)
        return wire.edited(call, journal, exchange.request) if simple is None else simple


cdef object checked(object answer):
    """What comes of a callback of the request phase."""
    if type(answer) is CoroutineType or (not isinstance(answer, Response) and hasattr(answer, "__await__")):
        answer = drive(answer)
    if answer is not None and not isinstance(answer, Response):
        raise TypeError(f"it returned a {type(answer).__name__}, not a Response or None")
    return answer


def driven(awaitable):
    """Return what comes of an awaitable that waits for nothing; RuntimeError for another."""
    return drive(awaitable)


cdef object drive(object awaitable):
    cdef PyObject *result = NULL
    cdef object coroutine = awaitable, out
    if type(awaitable) is not CoroutineType and not hasattr(awaitable, "send"):
        coroutine = awaitable.__await__()
    cdef PySendResult sent = PyIter_Send(<PyObject *>coroutine, <PyObject *>None, &result)
    out = <object>result
    Py_DECREF(result)
    if sent == PYGEN_RETURN:
        return out
    coroutine.close()
    raise RuntimeError("an inline filter cannot wait for anything: let it run offloaded")


cdef class InlineRunner(Runner):
    """Runs calls of inline stages: the request phase here, others in Python.

    Attributes:
        stages: by key.
    """

    cdef readonly dict stages

    def __cinit__(self, *_, **__):
        self.stages = {}

    cdef bytes run_call(self, Call call):
        cdef StageBase stage
        if call.c.phase == REQUEST:
            stage = self.stages.get(call.c.stage)
            if stage is not None:
                try:
                    return stage.run_request(call)
                except Exception as e:
                    return self.failed(call, e)
        return self.run(call)
