/* Unix sockets that also carry descriptors, poll, and bringing up a network link. */
#include "common.h"

#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#define MOST_FDS 253 /* SCM_MAX_FD */

static PyObject *linux_socketpair(PyObject *self, PyObject *args)
{
	(void)self;
	(void)args;
	int fds[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return raise_errno("socketpair(AF_UNIX, SOCK_SEQPACKET)");
	return Py_BuildValue("ii", fds[0], fds[1]);
}

/* Fill an address; a directory descriptor reaches paths of any length through /proc/self/fd. */
static int address(struct sockaddr_un *name, int dirfd, const char *path)
{
	int length;
	memset(name, 0, sizeof *name);
	name->sun_family = AF_UNIX;
	if (dirfd >= 0)
		length = snprintf(name->sun_path, sizeof name->sun_path, "/proc/self/fd/%d/%s", dirfd, path);
	else
		length = snprintf(name->sun_path, sizeof name->sun_path, "%s", path);
	if (length < (int)sizeof name->sun_path)
		return 0;
	errno = ENAMETOOLONG;
	return -1;
}

static PyObject *linux_unix_listen(PyObject *self, PyObject *args)
{
	(void)self;
	int dirfd;
	struct text path;
	struct sockaddr_un name;
	if (!PyArg_ParseTuple(args, "iO&:unix_listen", &dirfd, text_or_null, &path))
		return NULL;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || address(&name, dirfd, path.value) < 0 || bind(fd, (struct sockaddr *)&name, sizeof name) < 0 ||
	    listen(fd, 16) < 0) {
		raise_errno("bind(%d, \"%s\")", dirfd, text_show(&path));
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	text_clear(&path);
	return fd < 0 ? NULL : PyLong_FromLong(fd);
}

/* Connect by path; a path too long for an address is opened first and reached through its descriptor. */
static int connect_path(int fd, int dirfd, const char *path)
{
	struct sockaddr_un name;
	int opened = -1, result;
	if (address(&name, dirfd, path) < 0) {
		if (dirfd >= 0 || (opened = open(path, O_PATH | O_CLOEXEC)) < 0)
			return -1;
		snprintf(name.sun_path, sizeof name.sun_path, "/proc/self/fd/%d", opened);
	}
	result = connect(fd, (struct sockaddr *)&name, sizeof name);
	if (opened >= 0) {
		int number = errno;
		close(opened);
		errno = number;
	}
	return result;
}

static PyObject *linux_unix_connect(PyObject *self, PyObject *args)
{
	(void)self;
	int dirfd, result;
	struct text path;
	if (!PyArg_ParseTuple(args, "iO&:unix_connect", &dirfd, text_or_null, &path))
		return NULL;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CALL(result, fd < 0 ? -1 : connect_path(fd, dirfd, path.value));
	if (result < 0) {
		raise_errno("connect(%d, \"%s\")", dirfd, text_show(&path));
		if (fd >= 0)
			close(fd);
	}
	text_clear(&path);
	return result < 0 ? NULL : PyLong_FromLong(fd);
}

static PyObject *linux_accept(PyObject *self, PyObject *args)
{
	(void)self;
	int listener, fd;
	if (!PyArg_ParseTuple(args, "i:accept", &listener))
		return NULL;
	CALL(fd, accept4(listener, NULL, NULL, SOCK_CLOEXEC));
	if (fd < 0)
		return raise_errno("accept4(%d)", listener);
	return PyLong_FromLong(fd);
}

static PyObject *linux_send_message(PyObject *self, PyObject *args)
{
	(void)self;
	int fd;
	Py_buffer data;
	PyObject *fds = NULL;
	ssize_t sent;
	if (!PyArg_ParseTuple(args, "iy*|O:send_message", &fd, &data, &fds))
		return NULL;
	PyObject *list = fds == NULL ? PyTuple_New(0) : PySequence_Fast(fds, "descriptors must be a sequence");
	if (list == NULL) {
		PyBuffer_Release(&data);
		return NULL;
	}
	Py_ssize_t count = PySequence_Fast_GET_SIZE(list);
	char control[CMSG_SPACE(MOST_FDS * sizeof(int))] __attribute__((aligned(8))) = {0};
	struct iovec part = {data.buf, (size_t)data.len};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	if (count > MOST_FDS)
		PyErr_SetString(PyExc_ValueError, "too many descriptors for one message");
	if (count > 0 && count <= MOST_FDS) {
		message.msg_control = control;
		message.msg_controllen = CMSG_SPACE((size_t)count * sizeof(int));
		struct cmsghdr *head = CMSG_FIRSTHDR(&message);
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
		for (Py_ssize_t i = 0; i < count; i++)
			((int *)CMSG_DATA(head))[i] = (int)PyLong_AsLong(PySequence_Fast_GET_ITEM(list, i));
	}
	Py_DECREF(list);
	if (PyErr_Occurred()) {
		PyBuffer_Release(&data);
		return NULL;
	}
	CALL(sent, sendmsg(fd, &message, MSG_NOSIGNAL));
	Py_ssize_t length = data.len;
	PyBuffer_Release(&data);
	if (sent < 0)
		return raise_errno("sendmsg(%d, %zd bytes, %zd descriptors)", fd, length, count);
	if (sent != length)
		return raise_error(EMSGSIZE, NULL, "sendmsg(%d): %zd of %zd bytes", fd, sent, length);
	Py_RETURN_NONE;
}

static PyObject *linux_recv_message(PyObject *self, PyObject *args)
{
	(void)self;
	int fd, most_fds;
	Py_ssize_t most;
	ssize_t length;
	if (!PyArg_ParseTuple(args, "ini:recv_message", &fd, &most, &most_fds))
		return NULL;
	if (most_fds < 0 || most_fds > MOST_FDS || most < 0) {
		PyErr_SetString(PyExc_ValueError, "bad size");
		return NULL;
	}
	PyObject *data = PyBytes_FromStringAndSize(NULL, most);
	PyObject *fds = PyList_New(0);
	if (data == NULL || fds == NULL)
		goto fail;
	char control[CMSG_SPACE(MOST_FDS * sizeof(int))] __attribute__((aligned(8)));
	struct iovec part = {PyBytes_AS_STRING(data), (size_t)most};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = most_fds ? control : NULL,
				 /* Not CMSG_SPACE: its padding has room for another descriptor. */
				 .msg_controllen = most_fds ? CMSG_LEN((size_t)most_fds * sizeof(int)) : 0};
	CALL(length, recvmsg(fd, &message, MSG_CMSG_CLOEXEC));
	if (length < 0) {
		raise_errno("recvmsg(%d)", fd);
		goto fail;
	}
	for (struct cmsghdr *head = CMSG_FIRSTHDR(&message); head != NULL; head = CMSG_NXTHDR(&message, head)) {
		if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			PyObject *number = PyLong_FromLong(((int *)CMSG_DATA(head))[i]);
			if (number == NULL || PyList_Append(fds, number) < 0)
				goto fail;
			Py_DECREF(number);
		}
	}
	/* A truncated message is an error, never a shorter message (CVE-2021-43784). */
	if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		for (Py_ssize_t i = 0; i < PyList_GET_SIZE(fds); i++)
			close((int)PyLong_AsLong(PyList_GET_ITEM(fds, i)));
		raise_error(EMSGSIZE, NULL, "recvmsg(%d): message longer than %zd bytes or %d descriptors", fd, most,
			    most_fds);
		goto fail;
	}
	if (_PyBytes_Resize(&data, length) < 0)
		goto fail;
	return Py_BuildValue("NN", data, fds);
fail:
	Py_XDECREF(data);
	Py_XDECREF(fds);
	return NULL;
}

static PyObject *linux_poll(PyObject *self, PyObject *args)
{
	(void)self;
	PyObject *watched;
	int timeout, ready;
	struct pollfd fds[64];
	if (!PyArg_ParseTuple(args, "O!i:poll", &PyList_Type, &watched, &timeout))
		return NULL;
	Py_ssize_t count = PyList_GET_SIZE(watched);
	if (count > 64) {
		PyErr_SetString(PyExc_ValueError, "too many descriptors to poll");
		return NULL;
	}
	for (Py_ssize_t i = 0; i < count; i++) {
		fds[i].revents = 0;
		PyObject *each = PyList_GET_ITEM(watched, i);
		if (!PyTuple_Check(each))
			return PyErr_Format(PyExc_TypeError, "(fd, events) expected, not %s", Py_TYPE(each)->tp_name);
		if (!PyArg_ParseTuple(each, "ih", &fds[i].fd, &fds[i].events))
			return NULL;
	}
	CALL(ready, poll(fds, (nfds_t)count, timeout));
	if (ready < 0)
		return raise_errno("poll(%zd descriptors, %d)", count, timeout);
	PyObject *result = PyList_New(0);
	for (Py_ssize_t i = 0; result != NULL && i < count; i++) {
		if (fds[i].revents == 0)
			continue;
		PyObject *item = Py_BuildValue("ih", fds[i].fd, fds[i].revents);
		if (item == NULL || PyList_Append(result, item) < 0)
			Py_CLEAR(result);
		Py_XDECREF(item);
	}
	return result;
}

static PyObject *linux_link_up(PyObject *self, PyObject *args)
{
	(void)self;
	const char *name;
	struct ifreq request = {0};
	if (!PyArg_ParseTuple(args, "s:link_up", &name))
		return NULL;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
	int result = fd < 0 ? -1 : ioctl(fd, SIOCGIFFLAGS, &request);
	if (result == 0 && !(request.ifr_flags & IFF_UP)) {
		request.ifr_flags |= IFF_UP;
		result = ioctl(fd, SIOCSIFFLAGS, &request);
	}
	if (result < 0)
		raise_errno("ioctl(SIOCSIFFLAGS, \"%s\", IFF_UP)", name);
	if (fd >= 0)
		close(fd);
	return result < 0 ? NULL : Py_NewRef(Py_None);
}

PyMethodDef socket_methods[] = {
    {"socketpair", linux_socketpair, METH_NOARGS, "socketpair() -> (fd, fd), AF_UNIX SOCK_SEQPACKET; socketpair(2)"},
    {"unix_listen", linux_unix_listen, METH_VARARGS, "unix_listen(dirfd, name) -> listening stream socket; unix(7)"},
    {"unix_connect", linux_unix_connect, METH_VARARGS, "unix_connect(dirfd or AT_FDCWD, path) -> fd; unix(7)"},
    {"accept", linux_accept, METH_VARARGS, "accept(listener) -> fd; accept4(2)"},
    {"send_message", linux_send_message, METH_VARARGS, "send_message(fd, data, fds=()): one sendmsg(2), SCM_RIGHTS"},
    {"recv_message", linux_recv_message, METH_VARARGS,
     "recv_message(fd, most bytes, most fds) -> (data, [fds]); EMSGSIZE for a longer message; recvmsg(2)"},
    {"poll", linux_poll, METH_VARARGS, "poll([(fd, events)], timeout in ms) -> [(fd, revents)]; poll(2)"},
    {"link_up", linux_link_up, METH_VARARGS, "link_up(name): set IFF_UP; netdevice(7)"},
    {NULL, NULL, 0, NULL},
};
