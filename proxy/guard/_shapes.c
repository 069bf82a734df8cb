/* Whether a text has a shape, without making the text's own: in one walk over both, and nothing allocated.
 * shapes.py has the same in Python, and says what a shape is. What is DIRECT is what compiled modules call themselves
 * (deploy/direct_calls.py); the module is for all others.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>
#include <string.h>

#ifdef GATEHOUSE_DIRECT_CALLS
#include "gatehouse_direct_calls.h"
#define DIRECT
#else
#define DIRECT static
#endif

#define MAX_SHAPED_BYTES 2000

static int
is_digit(unsigned char byte)
{
    return byte >= '0' && byte <= '9';
}

static const char is_special[256] = {
    [0] = 1, ['\''] = 1, ['0'] = 1, ['1'] = 1, ['2'] = 1, ['3'] = 1,
    ['4'] = 1, ['5'] = 1, ['6'] = 1, ['7'] = 1, ['8'] = 1, ['9'] = 1,
};

/* How many zeros a shape has where a text has this many digits. */
static size_t
zeros(size_t digits)
{
    digits = digits / 4 + digits % 4;
    digits = digits / 2 + digits % 2;
    return digits / 2 + digits % 2;
}

#define EACH(byte) (0x0101010101010101u * (byte))

/* Whether one of eight bytes is 0. */
static int
has_zero(uint64_t bytes)
{
    return ((bytes - EACH(1)) & ~bytes & EACH(0x80)) != 0;
}

/* Whether one of eight bytes may be special: is 0 or a quote, or looks like a digit but for its lower half. */
static int
may_have_special(uint64_t bytes)
{
    return has_zero(bytes) || has_zero(bytes ^ EACH('\'')) || has_zero((bytes & EACH(0xf0)) ^ EACH(0x30));
}

/* How many bytes a text and a shape begin with that are the same in both, and not special. */
static size_t
same_bytes(const unsigned char *one, const unsigned char *other, size_t most)
{
    size_t at = 0;
    for (; most - at >= 8; at += 8) { /* most of it */
        uint64_t first, second;
        memcpy(&first, one + at, 8);
        memcpy(&second, other + at, 8);
        if (first != second || may_have_special(first)) {
            break;
        }
    }
    while (at < most && one[at] == other[at] && !is_special[one[at]]) {
        at++;
    }
    return at;
}

static int
fits(const unsigned char *at, const unsigned char *end, const unsigned char *shape, const unsigned char *shape_end)
{
    while (at < end) {
        size_t same = same_bytes(at, shape, (size_t)(end - at < shape_end - shape ? end - at : shape_end - shape));
        at += same;
        shape += same;
        if (at == end) {
            break;
        }
        if (*at == '\'') {
            const unsigned char *close = memchr(at + 1, '\'', (size_t)(end - at - 1));
            if (close == NULL || shape_end - shape < 2 || shape[0] != '\'' || shape[1] != '\'') {
                return 0;
            }
            if (memchr(at, 0, (size_t)(close - at)) != NULL) {
                return 0;
            }
            at = close + 1;
            shape += 2;
        }
        else if (is_digit(*at)) {
            const unsigned char *first = at;
            size_t left;
            do {
                at++;
            } while (at < end && is_digit(*at));
            left = zeros((size_t)(at - first));
            if ((size_t)(shape_end - shape) < left) {
                return 0;
            }
            for (; left > 0; left--) {
                if (*shape++ != '0') {
                    return 0;
                }
            }
        }
        else {
            return 0;
        }
    }
    return shape == shape_end;
}

/* 1 or 0; 2 for failure. */
DIRECT char
gatehouse_has_shape(PyObject *text, int64_t from, int64_t behind, PyObject *known)
{
    const unsigned char *data = (const unsigned char *)PyBytes_AS_STRING(text);
    const unsigned char *shape = (const unsigned char *)PyBytes_AS_STRING(known);
    Py_ssize_t size = PyBytes_GET_SIZE(text);
    if (from < 0 || behind < 0 || from > size || behind > size - from) {
        PyErr_SetString(PyExc_ValueError, "there is not so much to leave out");
        return 2;
    }
    return size - from - behind <= MAX_SHAPED_BYTES &&
           fits(data + from, data + size - behind, shape, shape + PyBytes_GET_SIZE(known));
}

#ifndef GATEHOUSE_DIRECT_CALLS

static PyObject *
shapes_has_shape(PyObject *module, PyObject *const *arguments, Py_ssize_t given)
{
    Py_ssize_t from, behind;
    char found;
    if (given != 4 || !PyBytes_Check(arguments[0]) || !PyBytes_Check(arguments[3])) {
        PyErr_SetString(PyExc_TypeError, "has_shape takes bytes, two counts and a shape in bytes");
        return NULL;
    }
    from = PyLong_AsSsize_t(arguments[1]);
    behind = PyLong_AsSsize_t(arguments[2]);
    if (PyErr_Occurred()) {
        return NULL;
    }
    found = gatehouse_has_shape(arguments[0], from, behind, arguments[3]);
    return found == 2 ? NULL : PyBool_FromLong(found);
}

static PyMethodDef functions[] = {
    {"has_shape", (PyCFunction)(void (*)(void))shapes_has_shape, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "proxy.guard._shapes", NULL, 0, functions, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC
PyInit__shapes(void)
{
    return PyModuleDef_Init(&definition);
}

#endif
