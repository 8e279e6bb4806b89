/* Terminals: pseudo-terminals by descriptor. */
#include "common.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>

static PyObject *linux_unlock_pty(PyObject *self, PyObject *args)
{
	(void)self;
	int fd, unlock = 0;
	if (!PyArg_ParseTuple(args, "i:unlock_pty", &fd))
		return NULL;
	if (ioctl(fd, TIOCSPTLCK, &unlock) < 0)
		return raise_errno("ioctl(%d, TIOCSPTLCK, 0)", fd);
	Py_RETURN_NONE;
}

static PyObject *linux_pty_number(PyObject *self, PyObject *args)
{
	(void)self;
	int fd;
	unsigned int number;
	if (!PyArg_ParseTuple(args, "i:pty_number", &fd))
		return NULL;
	if (ioctl(fd, TIOCGPTN, &number) < 0)
		return raise_errno("ioctl(%d, TIOCGPTN)", fd);
	return PyLong_FromUnsignedLong(number);
}

static PyObject *linux_pty_peer(PyObject *self, PyObject *args)
{
	(void)self;
	int fd;
	if (!PyArg_ParseTuple(args, "i:pty_peer", &fd))
		return NULL;
	int peer = ioctl(fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (peer < 0)
		return raise_errno("ioctl(%d, TIOCGPTPEER)", fd);
	return PyLong_FromLong(peer);
}

static PyObject *linux_set_window_size(PyObject *self, PyObject *args)
{
	(void)self;
	int fd;
	struct winsize size = {0};
	if (!PyArg_ParseTuple(args, "iHH:set_window_size", &fd, &size.ws_row, &size.ws_col))
		return NULL;
	if (ioctl(fd, TIOCSWINSZ, &size) < 0)
		return raise_errno("ioctl(%d, TIOCSWINSZ, {rows=%d, columns=%d})", fd, size.ws_row, size.ws_col);
	Py_RETURN_NONE;
}

static PyObject *linux_clear_onlcr(PyObject *self, PyObject *args)
{
	(void)self;
	int fd;
	struct termios settings;
	if (!PyArg_ParseTuple(args, "i:clear_onlcr", &fd))
		return NULL;
	if (tcgetattr(fd, &settings) < 0)
		return raise_errno("tcgetattr(%d)", fd);
	settings.c_oflag &= ~(tcflag_t)ONLCR;
	if (tcsetattr(fd, TCSANOW, &settings) < 0)
		return raise_errno("tcsetattr(%d, TCSANOW, {c_oflag &= ~ONLCR})", fd);
	Py_RETURN_NONE;
}

static PyObject *linux_login_tty(PyObject *self, PyObject *args)
{
	(void)self;
	int fd;
	if (!PyArg_ParseTuple(args, "i:login_tty", &fd))
		return NULL;
	if (ioctl(fd, TIOCSCTTY, 0) < 0)
		return raise_errno("ioctl(%d, TIOCSCTTY)", fd);
	for (int stdio = 0; stdio < 3; stdio++)
		if (dup2(fd, stdio) < 0)
			return raise_errno("dup2(%d, %d)", fd, stdio);
	Py_RETURN_NONE;
}

PyMethodDef terminal_methods[] = {
    {"unlock_pty", linux_unlock_pty, METH_VARARGS, "unlock_pty(master): TIOCSPTLCK; ioctl_tty(2)"},
    {"pty_number", linux_pty_number, METH_VARARGS, "pty_number(master) -> N of /dev/pts/N: TIOCGPTN; ioctl_tty(2)"},
    {"pty_peer", linux_pty_peer, METH_VARARGS,
     "pty_peer(master) -> fd of the other side, without a path that could be replaced: TIOCGPTPEER; ioctl_tty(2)"},
    {"set_window_size", linux_set_window_size, METH_VARARGS, "set_window_size(fd, rows, columns); ioctl_tty(2)"},
    {"clear_onlcr", linux_clear_onlcr, METH_VARARGS,
     "clear_onlcr(fd): stop turning a newline into carriage return and newline; termios(3)"},
    {"login_tty", linux_login_tty, METH_VARARGS,
     "login_tty(tty): make tty the session's controlling terminal and stdin, stdout, stderr; TIOCSCTTY, dup2(2)"},
    {NULL, NULL, 0, NULL},
};
