#include "fg_host.h"

#include <Python.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
#else
#define __lsan_disable() ((void)0)
#define __lsan_enable() ((void)0)
#endif

/* The modules' names within one executable; each initialises as in an extension of its own. */
PyMODINIT_FUNC PyInit_client_hello(void);
PyMODINIT_FUNC PyInit_http1(void);
PyMODINIT_FUNC PyInit_image(void);
PyMODINIT_FUNC PyInit_regex(void);
PyMODINIT_FUNC PyInit_router(void);

_Noreturn static void stop(const char *what) {
    if (PyErr_Occurred())
        PyErr_Print();
    fprintf(stderr, "the interpreter cannot be used: %s\n", what);
    exit(1);
}

static void *capsule(const char *module, const char *name) {
    PyObject *m = PyImport_ImportModule(module);
    PyObject *table = m ? PyObject_GetAttrString(m, "__pyx_capi__") : NULL;
    PyObject *entry = table ? PyDict_GetItemString(table, name) : NULL;
    void *function = entry ? PyCapsule_GetPointer(entry, PyCapsule_GetName(entry)) : NULL;
    if (function == NULL)
        stop(name);
    return function;
}

static void start_interpreter(void) {
    PyConfig config;
    PyConfig_InitIsolatedConfig(&config);
    config.site_import = 0;
    config.write_bytecode = 0;
    if (PyStatus_Exception(PyConfig_SetBytesString(&config, &config.home, PYTHON_HOME)) ||
        PyStatus_Exception(Py_InitializeFromConfig(&config)))
        stop("it does not start");
    PyConfig_Clear(&config);
    if (PyRun_SimpleString("import sys; sys.path.insert(0, \"" PACKAGES "\")"))
        stop("no search path");
}

const struct fg_functions *fg_host_functions(void) {
    static struct fg_functions f;
    if (f.match)
        return &f;
    __lsan_disable(); /* what the interpreter keeps, it keeps to the end */
    PyImport_AppendInittab("fastgate.core.client_hello", PyInit_client_hello);
    PyImport_AppendInittab("fastgate.core.http1", PyInit_http1);
    PyImport_AppendInittab("fastgate.core.image", PyInit_image);
    PyImport_AppendInittab("fastgate.core.regex", PyInit_regex);
    PyImport_AppendInittab("fastgate.core.router", PyInit_router);
    start_interpreter();
    f.parse_request = (fg_h1_request_fn)capsule("fastgate.core.http1", "h1_request");
    f.parse_response = (fg_h1_response_fn)capsule("fastgate.core.http1", "h1_response");
    f.parse_trailers = (fg_h1_trailers_fn)capsule("fastgate.core.http1", "h1_trailers");
    f.next_chunk = (fg_h1_chunk_fn)capsule("fastgate.core.http1", "h1_chunk");
    f.normalize_path = (fg_path_normalize_fn)capsule("fastgate.core.http1", "path_normalize");
    f.peek_client_hello = (fg_client_hello_fn)capsule("fastgate.core.client_hello", "client_hello");
    f.open_image = (fg_image_open_fn)capsule("fastgate.core.image", "image_open");
    f.close_image = (fg_image_close_fn)capsule("fastgate.core.image", "image_close");
    f.match = (fg_match_fn)capsule("fastgate.core.router", "match");
    f.find_host = (fg_find_host_fn)capsule("fastgate.core.router", "find_host");
    PyEval_SaveThread();
    __lsan_enable();
    return &f;
}
