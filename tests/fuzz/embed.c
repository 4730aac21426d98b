/* The interpreter, started once: it imports the modules under test and hands out their functions, then lets go of the GIL. */
#include <Python.h>

#include "fuzz.h"

void *fuzz_function(const char *module, const char *name, const char *signature) {
    PyObject *imported = PyImport_ImportModule(module);
    PyObject *exported = imported ? PyObject_GetAttrString(imported, "__pyx_capi__") : NULL;
    PyObject *capsule = exported ? PyMapping_GetItemString(exported, name) : NULL;
    void *function = capsule ? PyCapsule_GetPointer(capsule, signature) : NULL;
    if (!function) {
        if (capsule)
            fprintf(stderr, "%s is %s, not %s\n", name, PyCapsule_GetName(capsule), signature);
        PyErr_Print();
        exit(2);
    }
    Py_DECREF(capsule);
    Py_DECREF(exported);
    Py_DECREF(imported); /* stays in sys.modules */
    return function;
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    PyConfig config;
    PyConfig_InitPythonConfig(&config);
    config.install_signal_handlers = 0;
    config.parse_argv = 0;
    PyStatus status = PyConfig_SetBytesString(&config, &config.program_name, FUZZ_PYTHON);
    if (!PyStatus_Exception(status))
        status = Py_InitializeFromConfig(&config);
    if (PyStatus_Exception(status))
        Py_ExitStatusException(status);
    PyConfig_Clear(&config);
    if (PyRun_SimpleString("import os, fastgate.core\n"
                           "fastgate.core.__path__.insert(0, os.environ['FASTGATE_CORE'])\n"))
        exit(2);
    fuzz_setup();
    PyEval_SaveThread();
    return 0;
}
