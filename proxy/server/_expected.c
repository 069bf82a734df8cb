/* The walk over an answer that is just what was expected. expected.py has the same in Python, and says what it means. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#define END 15
#define DROPPED 16
#define STATES 256
#define COMMAND_COMPLETE 'C'

/* Where the client's part begins; -1 if this is not exactly the whole of what is expected. */
static Py_ssize_t
begin_of_answer(const unsigned char *table, const unsigned char *data, Py_ssize_t size, long state, long status)
{
    Py_ssize_t at = 0, begin = state < DROPPED ? 0 : -1;
    while (size - at >= 5) {
        const unsigned char *head = data + at;
        Py_ssize_t length = (Py_ssize_t)head[2] << 16 | (Py_ssize_t)head[3] << 8 | head[4];
        state = table[state * 256 + head[0]];
        if (state == 0 || state >= STATES || head[1] != 0) {
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

static PyObject *
expected_clients_part(PyObject *module, PyObject *const *arguments, Py_ssize_t given)
{
    PyObject *table, *data;
    Py_ssize_t begin, size;
    long state, status;
    if (given != 4 || !PyBytes_Check(arguments[0]) || !PyBytes_Check(arguments[1])) {
        PyErr_SetString(PyExc_TypeError, "clients_part takes transitions, data, a state and a status");
        return NULL;
    }
    table = arguments[0];
    data = arguments[1];
    state = PyLong_AsLong(arguments[2]);
    status = PyLong_AsLong(arguments[3]);
    if (PyErr_Occurred()) {
        return NULL;
    }
    if (PyBytes_GET_SIZE(table) != STATES * 256 || state < 0 || state >= STATES) {
        PyErr_SetString(PyExc_ValueError, "no such state");
        return NULL;
    }
    size = PyBytes_GET_SIZE(data);
    begin = begin_of_answer((const unsigned char *)PyBytes_AS_STRING(table),
                            (const unsigned char *)PyBytes_AS_STRING(data), size, state, status);
    if (begin == 0) {
        return Py_NewRef(data);
    }
    return PyBytes_FromStringAndSize(PyBytes_AS_STRING(data) + (begin < 0 ? 0 : begin), begin < 0 ? 0 : size - begin);
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
