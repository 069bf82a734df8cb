/* What the short way asks of a chunk, and makes of it. chunks.py has the same in Python, and says what it means.
 * What is DIRECT is what compiled modules call themselves (deploy/direct_calls.py); the module is for all others.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <string.h>

#ifdef GATEHOUSE_DIRECT_CALLS
#include "gatehouse_direct_calls.h"
#define DIRECT
#else
#define DIRECT static
#endif

#define SAME_NAME 2
#define DESCRIBED 1
#define NAME_AT 6
#define LEAST_BIND_BYTES 13
#define LEAST_BEHIND_NAME_BYTES 6

static const unsigned char describe_and_run[] = "D\0\0\0\6P\0E\0\0\0\t\0\0\0\0\0S\0\0\0\4";
#define DESCRIBE_AND_RUN_BYTES 22
#define RUN_BYTES 15
#define SYNC_BYTES 5
#define BEHIND_HEAD_BYTES (4 + SYNC_BYTES)

static int64_t
look_at_batch(const unsigned char *data, Py_ssize_t size, const char *name, Py_ssize_t name_size)
{
    const unsigned char *end;
    Py_ssize_t length, rest;
    int64_t found;
    if (size <= LEAST_BIND_BYTES || data[1] || data[2] || data[5] || !data[NAME_AT]) {
        return -1;
    }
    length = (Py_ssize_t)data[3] << 8 | data[4];
    rest = size - length - 1;
    if (length < LEAST_BIND_BYTES || (rest != RUN_BYTES && rest != DESCRIBE_AND_RUN_BYTES)) {
        return -1;
    }
    /* Whatever number of rows is asked for. */
    if (memcmp(data + size - rest, describe_and_run + DESCRIBE_AND_RUN_BYTES - rest, (size_t)rest - BEHIND_HEAD_BYTES) != 0 ||
        memcmp(data + size - SYNC_BYTES, describe_and_run + DESCRIBE_AND_RUN_BYTES - SYNC_BYTES, SYNC_BYTES) != 0) {
        return -1;
    }
    end = memchr(data + NAME_AT, 0, (size_t)(size - NAME_AT));
    if (end == NULL || end - data > length - LEAST_BEHIND_NAME_BYTES) {
        return -1;
    }
    found = (int64_t)(end - data) * 4 + (rest == DESCRIBE_AND_RUN_BYTES ? DESCRIBED : 0);
    if (end - data - NAME_AT == name_size && memcmp(data + NAME_AT, name, (size_t)name_size) == 0) {
        found += SAME_NAME;
    }
    return found;
}

DIRECT int64_t
gatehouse_look_at_batch(PyObject *data, PyObject *name)
{
    return look_at_batch((const unsigned char *)PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data),
                         PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name));
}

DIRECT PyObject *
gatehouse_assemble(PyObject *first, PyObject *second, PyObject *data, int64_t from)
{
    Py_ssize_t first_size = PyBytes_GET_SIZE(first), second_size = PyBytes_GET_SIZE(second);
    Py_ssize_t size = PyBytes_GET_SIZE(data);
    PyObject *whole;
    char *at;
    if (from < 0 || from > size) {
        PyErr_SetString(PyExc_ValueError, "there is not so much to leave out");
        return NULL;
    }
    whole = PyBytes_FromStringAndSize(NULL, first_size + second_size + size - from);
    if (whole != NULL) {
        at = PyBytes_AS_STRING(whole);
        memcpy(at, PyBytes_AS_STRING(first), (size_t)first_size);
        memcpy(at + first_size, PyBytes_AS_STRING(second), (size_t)second_size);
        memcpy(at + first_size + second_size, PyBytes_AS_STRING(data) + from, (size_t)(size - from));
    }
    return whole;
}

#ifndef GATEHOUSE_DIRECT_CALLS

static PyObject *
chunks_look_at_batch(PyObject *module, PyObject *const *arguments, Py_ssize_t given)
{
    if (given != 2 || !PyBytes_Check(arguments[0]) || !PyBytes_Check(arguments[1])) {
        PyErr_SetString(PyExc_TypeError, "look_at_batch takes a chunk and a name");
        return NULL;
    }
    return PyLong_FromLongLong(gatehouse_look_at_batch(arguments[0], arguments[1]));
}

static PyObject *
chunks_assemble(PyObject *module, PyObject *const *arguments, Py_ssize_t given)
{
    Py_ssize_t from;
    if (given != 4 || !PyBytes_Check(arguments[0]) || !PyBytes_Check(arguments[1]) || !PyBytes_Check(arguments[2])) {
        PyErr_SetString(PyExc_TypeError, "assemble takes three bytes and a count");
        return NULL;
    }
    from = PyLong_AsSsize_t(arguments[3]);
    if (from == -1 && PyErr_Occurred()) {
        return NULL;
    }
    return gatehouse_assemble(arguments[0], arguments[1], arguments[2], from);
}

static PyMethodDef functions[] = {
    {"look_at_batch", (PyCFunction)(void (*)(void))chunks_look_at_batch, METH_FASTCALL, NULL},
    {"assemble", (PyCFunction)(void (*)(void))chunks_assemble, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "proxy.client._chunks", NULL, 0, functions, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC
PyInit__chunks(void)
{
    return PyModuleDef_Init(&definition);
}

#endif
