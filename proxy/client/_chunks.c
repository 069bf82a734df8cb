/* What the short way asks of a chunk, and makes of it. chunks.py has the same in Python, and says what it means. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <string.h>

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

static long
look_at_batch(const unsigned char *data, Py_ssize_t size, const char *name, Py_ssize_t name_size)
{
    const unsigned char *end;
    Py_ssize_t length, rest;
    long found;
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
    found = (long)(end - data) * 4 + (rest == DESCRIBE_AND_RUN_BYTES ? DESCRIBED : 0);
    if (end - data - NAME_AT == name_size && memcmp(data + NAME_AT, name, (size_t)name_size) == 0) {
        found += SAME_NAME;
    }
    return found;
}

static PyObject *
chunks_look_at_batch(PyObject *module, PyObject *const *arguments, Py_ssize_t given)
{
    if (given != 2 || !PyBytes_Check(arguments[0]) || !PyBytes_Check(arguments[1])) {
        PyErr_SetString(PyExc_TypeError, "look_at_batch takes a chunk and a name");
        return NULL;
    }
    return PyLong_FromLong(look_at_batch((const unsigned char *)PyBytes_AS_STRING(arguments[0]),
                                         PyBytes_GET_SIZE(arguments[0]), PyBytes_AS_STRING(arguments[1]),
                                         PyBytes_GET_SIZE(arguments[1])));
}

static PyObject *
chunks_assemble(PyObject *module, PyObject *const *arguments, Py_ssize_t given)
{
    Py_ssize_t first, second, from, size;
    PyObject *whole;
    char *at;
    if (given != 4 || !PyBytes_Check(arguments[0]) || !PyBytes_Check(arguments[1]) || !PyBytes_Check(arguments[2])) {
        PyErr_SetString(PyExc_TypeError, "assemble takes three bytes and a count");
        return NULL;
    }
    from = PyLong_AsSsize_t(arguments[3]);
    if (from == -1 && PyErr_Occurred()) {
        return NULL;
    }
    first = PyBytes_GET_SIZE(arguments[0]);
    second = PyBytes_GET_SIZE(arguments[1]);
    size = PyBytes_GET_SIZE(arguments[2]);
    if (from < 0 || from > size) {
        PyErr_SetString(PyExc_ValueError, "there is not so much to leave out");
        return NULL;
    }
    whole = PyBytes_FromStringAndSize(NULL, first + second + size - from);
    if (whole != NULL) {
        at = PyBytes_AS_STRING(whole);
        memcpy(at, PyBytes_AS_STRING(arguments[0]), (size_t)first);
        memcpy(at + first, PyBytes_AS_STRING(arguments[1]), (size_t)second);
        memcpy(at + first + second, PyBytes_AS_STRING(arguments[2]) + from, (size_t)(size - from));
    }
    return whole;
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
