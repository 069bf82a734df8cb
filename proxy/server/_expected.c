/* The walk over an answer that is just what was expected. expected.py has the same in Python, and says what it means.
 * What is DIRECT is what compiled modules call themselves (deploy/direct_calls.py); the module is for all others.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#ifdef GATEHOUSE_DIRECT_CALLS
#include "gatehouse_direct_calls.h"
#define DIRECT
#else
#define DIRECT static
#endif

#define END 15
#define DROPPED 16
#define STATES 256
#define COMMAND_COMPLETE 'C'
#define PARAMETER_STATUS 'S'
#define READY_FOR_QUERY 'Z'
#define READY_HEAD "Z\0\0\0\5"
#define READY_BYTES 6

/* Where the client's part begins; -1 if this is not exactly the whole of what is expected. `cut`: where the messages stand
   that may come before ReadyForQuery and are to be left out, if they do; -1 when they did not come. */
static Py_ssize_t
begin_of_answer(const unsigned char *table, const unsigned char *data, Py_ssize_t size, int64_t state, int64_t status,
                const char *unheard, Py_ssize_t *cut)
{
    Py_ssize_t at = 0, begin = state < DROPPED ? 0 : -1, may_cut = *cut;
    *cut = -1;
    while (size - at >= 5) {
        const unsigned char *head = data + at;
        Py_ssize_t length = (Py_ssize_t)head[2] << 16 | (Py_ssize_t)head[3] << 8 | head[4];
        if (at == may_cut && head[0] == PARAMETER_STATUS && begin >= 0) {
            const unsigned char *ready = data + size - READY_BYTES;
            *cut = at;
            return table[state * 256 + READY_FOR_QUERY] == END && memcmp(head, unheard, ready - head) == 0 &&
                           memcmp(ready, READY_HEAD, READY_BYTES - 1) == 0 && ready[READY_BYTES - 1] == status
                       ? begin
                       : -1;
        }
        state = table[state * 256 + head[0]];
        if (state == 0 || head[1] != 0) {
            return -1;
        }
        if (length <= 4 && (length < 4 || head[0] == COMMAND_COMPLETE)) {
            return -1;
        }
        at += length + 1;
        if (state == END) {
            return length == 5 && at == size && data[size - 1] == status ? begin : -1;
        }
        if (begin < 0 && state < DROPPED) {
            begin = at;
        }
    }
    return -1;
}

/* The client's part of the answer; empty if there is none. */
DIRECT PyObject *
gatehouse_clients_part(PyObject *table, PyObject *data, int64_t state, int64_t status, PyObject *unheard)
{
    Py_ssize_t begin, size = PyBytes_GET_SIZE(data), cut = size - READY_BYTES - PyBytes_GET_SIZE(unheard);
    PyObject *part;
    begin = begin_of_answer((const unsigned char *)PyBytes_AS_STRING(table),
                            (const unsigned char *)PyBytes_AS_STRING(data), size, state, status,
                            PyBytes_AS_STRING(unheard), &cut);
    if (begin >= 0 && cut >= 0) {
        part = PyBytes_FromStringAndSize(PyBytes_AS_STRING(data) + begin, cut - begin + READY_BYTES);
        if (part != NULL) {
            memcpy(PyBytes_AS_STRING(part) + cut - begin, PyBytes_AS_STRING(data) + size - READY_BYTES, READY_BYTES);
        }
        return part;
    }
    if (begin == 0) {
        return Py_NewRef(data);
    }
    return PyBytes_FromStringAndSize(PyBytes_AS_STRING(data) + (begin < 0 ? 0 : begin), begin < 0 ? 0 : size - begin);
}

#ifndef GATEHOUSE_DIRECT_CALLS

static PyObject *
expected_clients_part(PyObject *module, PyObject *const *arguments, Py_ssize_t given)
{
    long state, status;
    if (given != 5 || !PyBytes_Check(arguments[0]) || !PyBytes_Check(arguments[1]) || !PyBytes_Check(arguments[4])) {
        PyErr_SetString(PyExc_TypeError, "clients_part takes transitions, data, a state, a status and messages");
        return NULL;
    }
    state = PyLong_AsLong(arguments[2]);
    status = PyLong_AsLong(arguments[3]);
    if (PyErr_Occurred()) {
        return NULL;
    }
    if (PyBytes_GET_SIZE(arguments[0]) != STATES * 256 || state < 0 || state >= STATES) {
        PyErr_SetString(PyExc_ValueError, "no such state");
        return NULL;
    }
    return gatehouse_clients_part(arguments[0], arguments[1], state, status, arguments[4]);
}

static PyMethodDef functions[] = {
    {"clients_part", (PyCFunction)(void (*)(void))expected_clients_part, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "proxy.server._expected", NULL, 0, functions, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC
PyInit__expected(void)
{
    return PyModuleDef_Init(&definition);
}

#endif
