/* Whether a text has a shape, without making the text's own: in one walk over both, and nothing allocated.
 * shapes.py has the same in Python, and says what a shape is.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <string.h>

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

static int
fits(const unsigned char *at, const unsigned char *end, const unsigned char *shape, const unsigned char *shape_end)
{
    while (at < end) {
        /* Most of it is the same in both. */
        size_t same = (size_t)(end - at < shape_end - shape ? end - at : shape_end - shape);
        while (same > 0 && *at == *shape && !is_special[*at]) {
            at++;
            shape++;
            same--;
        }
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

static PyObject *
shapes_has_shape(PyObject *module, PyObject *const *arguments, Py_ssize_t given)
{
    const unsigned char *data, *shape;
    Py_ssize_t from, behind, size;
    if (given != 4 || !PyBytes_Check(arguments[0]) || !PyBytes_Check(arguments[3])) {
        PyErr_SetString(PyExc_TypeError, "has_shape takes bytes, two counts and a shape in bytes");
        return NULL;
    }
    from = PyLong_AsSsize_t(arguments[1]);
    behind = PyLong_AsSsize_t(arguments[2]);
    if (PyErr_Occurred()) {
        return NULL;
    }
    size = PyBytes_GET_SIZE(arguments[0]);
    if (from < 0 || behind < 0 || from > size || behind > size - from) {
        PyErr_SetString(PyExc_ValueError, "there is not so much to leave out");
        return NULL;
    }
    if (size - from - behind > MAX_SHAPED_BYTES) {
        Py_RETURN_FALSE;
    }
    data = (const unsigned char *)PyBytes_AS_STRING(arguments[0]);
    shape = (const unsigned char *)PyBytes_AS_STRING(arguments[3]);
    return PyBool_FromLong(fits(data + from, data + size - behind, shape, shape + PyBytes_GET_SIZE(arguments[3])));
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
