/* The system calls of a query's way, and of a client's arrival, without what the socket and select modules add to them.
 *
 * What can not block keeps the interpreter's lock: to give it up and take it again costs as much as all the rest, and
 * whoever computes in another thread (a reload, say) would keep the loop waiting for it at each call.
 * system.py has the same in Python, and says what they mean. The functions that are DIRECT are what compiled modules
 * call themselves (deploy/direct_calls.py); the module is for all others.
 */

#define _GNU_SOURCE /* accept4 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <time.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#ifdef __linux__
#include <sys/epoll.h>
#include <sys/syscall.h>
#endif

#ifdef GATEHOUSE_DIRECT_CALLS
#include "gatehouse_direct_calls.h"
#define DIRECT
#else
#define DIRECT static
#endif

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* Python ignores SIGPIPE as it is. */
#endif

/* The C library makes each of these a point where pthread_cancel can end a thread, and where there is more than one that
 * takes as long as all else that it does. Nobody here cancels threads. */
#if defined(__linux__) && defined(SYS_recvfrom) && defined(SYS_sendto)
#define RECEIVE(fd, data, size, flags) syscall(SYS_recvfrom, fd, data, size, flags, NULL, NULL)
#define SEND(fd, data, size, flags) syscall(SYS_sendto, fd, data, size, flags, NULL, 0)
#else
#define RECEIVE recv
#define SEND send
#endif

#ifdef Py_GIL_DISABLED
#error "without the interpreter's lock, what one thread receives would be overwritten by another"
#endif

#define CHUNK_BYTES 65536
#define EVENTS_PER_LOOK 64
#define MOST_MS 86400000

static int
would_block(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK;
}

DIRECT PyObject *
gatehouse_receive(int fd)
{
    /* One for all: what was read is copied out before anybody else can read, for the lock is kept. */
    static char chunk[CHUNK_BYTES];
    ssize_t count;
    do {
        count = RECEIVE(fd, chunk, sizeof(chunk), MSG_DONTWAIT);
    } while (count < 0 && errno == EINTR);
    if (count >= 0) {
        return PyBytes_FromStringAndSize(chunk, count);
    }
    if (would_block()) {
        Py_RETURN_NONE;
    }
    return PyErr_SetFromErrno(PyExc_OSError);
}

/* How much the kernel has taken; -1 for failure. */
static Py_ssize_t
send_some(int fd, const char *data, Py_ssize_t size)
{
    ssize_t count;
    do {
        count = SEND(fd, data, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (count < 0 && errno == EINTR);
    if (count < 0 && would_block()) {
        return 0;
    }
    if (count < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
    }
    return count;
}

#ifdef __linux__
/* Milliseconds until a point of the monotonic clock, rounded up; -1 for a point that never comes. */
static int
milliseconds_until(double until)
{
    struct timespec now;
    double left;
    if (isinf(until)) {
        return -1;
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    left = ceil((until - (double)now.tv_sec - now.tv_nsec * 1e-9) * 1e3);
    return left < 0 ? 0 : left > MOST_MS ? MOST_MS : (int)left;
}

/* What the last look of this thread has found. Other threads look while this one waits, and whenever it lets them run. */
static _Thread_local struct epoll_event found[EVENTS_PER_LOOK];
static _Thread_local int found_count;

/* How many it has found; -1 for failure. */
DIRECT int64_t
gatehouse_look(int epoll, double until)
{
    int count;
    if (until == 0.0) {
        count = epoll_wait(epoll, found, EVENTS_PER_LOOK, 0);
    }
    else {
        int most = milliseconds_until(until);
        Py_BEGIN_ALLOW_THREADS
        count = epoll_wait(epoll, found, EVENTS_PER_LOOK, most);
        Py_END_ALLOW_THREADS
    }
    if (count < 0 && errno == EINTR) {
        count = 0; /* The interpreter has a signal to handle first. */
    }
    found_count = count < 0 ? 0 : count;
    if (count < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
    }
    return count;
}

/* -1 for failure. */
DIRECT int64_t
gatehouse_found(int64_t at)
{
    if (at < 0 || at >= found_count) {
        PyErr_SetString(PyExc_IndexError, "so many were not found");
        return -1;
    }
    return (int64_t)found[at].events << 32 | (uint32_t)found[at].data.fd;
}
#endif

#ifdef GATEHOUSE_DIRECT_CALLS

#ifdef __linux__
/* time.monotonic, which looks at the same clock. */
double
gatehouse_monotonic(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)((int64_t)now.tv_sec * 1000000000 + now.tv_nsec) / 1e9;
}
#endif

int64_t
gatehouse_send(int fd, PyObject *data)
{
    return send_some(fd, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data));
}

#else /* a module */

/* Any int, as for Python's own calls: the kernel knows which are descriptors. False for failure. */
static int
descriptor(PyObject *number, int *fd)
{
    long value = PyLong_AsLong(number);
    if (value == -1 && PyErr_Occurred()) {
        return 0;
    }
    if (value < INT_MIN || value > INT_MAX) {
        PyErr_SetString(PyExc_OverflowError, "too large for a file descriptor");
        return 0;
    }
    *fd = (int)value;
    return 1;
}

static PyObject *
system_receive(PyObject *module, PyObject *number)
{
    int fd;
    return descriptor(number, &fd) ? gatehouse_receive(fd) : NULL;
}

static PyObject *
system_send(PyObject *module, PyObject *const *arguments, Py_ssize_t given)
{
    Py_buffer view;
    Py_ssize_t count;
    int fd;
    if (given != 2) {
        PyErr_SetString(PyExc_TypeError, "send takes a descriptor and bytes");
        return NULL;
    }
    if (!descriptor(arguments[0], &fd) || PyObject_GetBuffer(arguments[1], &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    count = send_some(fd, view.buf, view.len);
    PyBuffer_Release(&view);
    return count < 0 ? NULL : PyLong_FromSsize_t(count);
}

#ifdef __linux__
static PyObject *
system_look(PyObject *module, PyObject *const *arguments, Py_ssize_t given)
{
    double until;
    int64_t count;
    int fd;
    if (given != 2) {
        PyErr_SetString(PyExc_TypeError, "look takes an epoll and a time");
        return NULL;
    }
    if (PyLong_CheckExact(arguments[0])) { /* The way that costs less. */
        if (!descriptor(arguments[0], &fd)) {
            return NULL;
        }
    }
    else {
        fd = PyObject_AsFileDescriptor(arguments[0]);
        if (fd < 0) {
            return NULL;
        }
    }
    until = PyFloat_AsDouble(arguments[1]);
    if (until == -1.0 && PyErr_Occurred()) {
        return NULL;
    }
    count = gatehouse_look(fd, until);
    return count < 0 ? NULL : PyLong_FromLongLong(count);
}

static PyObject *
system_found(PyObject *module, PyObject *number)
{
    Py_ssize_t at = PyLong_AsSsize_t(number);
    int64_t which;
    if (at == -1 && PyErr_Occurred()) {
        return NULL;
    }
    which = gatehouse_found(at);
    return which < 0 ? NULL : PyLong_FromLongLong(which);
}

static PyObject *
system_accept(PyObject *module, PyObject *listener)
{
    union {
        struct sockaddr any;
        struct sockaddr_in inet;
        struct sockaddr_in6 inet6;
        struct sockaddr_storage room;
    } peer;
    char text[INET6_ADDRSTRLEN] = "";
    PyObject *number, *taken;
    socklen_t size;
    int fd, made;
    number = PyObject_CallMethod(listener, "fileno", NULL); /* -1 when it is closed */
    if (number == NULL) {
        return NULL;
    }
    made = descriptor(number, &fd);
    Py_DECREF(number);
    if (!made) {
        return NULL;
    }
    do {
        size = sizeof(peer);
        made = accept4(fd, &peer.any, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    } while (made < 0 && (errno == EINTR || errno == ECONNABORTED));
    if (made < 0) {
        if (would_block()) {
            Py_RETURN_NONE;
        }
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    if (peer.any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &peer.inet.sin_addr, text, sizeof(text));
        taken = Py_BuildValue("iN", made, PyUnicode_FromFormat("%s:%d", text, ntohs(peer.inet.sin_port)));
    }
    else if (peer.any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &peer.inet6.sin6_addr, text, sizeof(text));
        taken = Py_BuildValue("iN", made, PyUnicode_FromFormat("%s:%d", text, ntohs(peer.inet6.sin6_port)));
    }
    else {
        taken = Py_BuildValue("is", made, "unix");
    }
    if (taken == NULL) {
        close(made);
    }
    return taken;
}
#endif

static PyMethodDef functions[] = {
    {"receive", system_receive, METH_O, NULL},
    {"send", (PyCFunction)(void (*)(void))system_send, METH_FASTCALL, NULL},
#ifdef __linux__
    {"accept", system_accept, METH_O, NULL},
    {"look", (PyCFunction)(void (*)(void))system_look, METH_FASTCALL, NULL},
    {"found", system_found, METH_O, NULL},
#endif
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "proxy.net._system", NULL, 0, functions, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC
PyInit__system(void)
{
    return PyModuleDef_Init(&definition);
}

#endif
