/* Files and directories: openat2, and calls that Python has too, but whose errors do not name the call. */
#include "common.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/file.h>
#include <sys/sysmacros.h>

static PyObject *linux_openat2(PyObject *self, PyObject *args)
{
	(void)self;
	int dirfd;
	struct text path;
	struct open_how how = {0};
	unsigned long long flags, mode, resolve;
	struct names flag_words, resolve_words;
	long fd;
	if (!PyArg_ParseTuple(args, "iO&KKK:openat2", &dirfd, text_or_null, &path, &flags, &mode, &resolve))
		return NULL;
	how.flags = flags | O_CLOEXEC;
	how.mode = mode;
	how.resolve = resolve;
	/* EAGAIN: a rename raced with a look-up that may not leave its root (openat2(2)); retry, but not forever. */
	for (int attempt = 0; attempt < 128; attempt++) {
		CALL(fd, syscall(SYS_openat2, dirfd, path.value, &how, sizeof how));
		if (fd >= 0 || errno != EAGAIN)
			break;
	}
	if (fd < 0)
		raise_errno("openat2(%d, \"%s\", %s, %s)", dirfd, text_show(&path),
			    flag_names(&flag_words, "O_", flags), flag_names(&resolve_words, "RESOLVE_", resolve));
	text_clear(&path);
	return fd < 0 ? NULL : PyLong_FromLong(fd);
}

static PyObject *linux_open(PyObject *self, PyObject *args)
{
	(void)self;
	struct text path;
	struct names words;
	int flags, mode = 0, fd;
	if (!PyArg_ParseTuple(args, "O&i|i:open", text_or_null, &path, &flags, &mode))
		return NULL;
	CALL(fd, open(path.value, flags | O_CLOEXEC, mode));
	if (fd < 0)
		raise_errno("open(\"%s\", %s)", text_show(&path), flag_names(&words, "O_", (unsigned int)flags));
	text_clear(&path);
	return fd < 0 ? NULL : PyLong_FromLong(fd);
}

static PyObject *linux_mkdirat(PyObject *self, PyObject *args)
{
	(void)self;
	int dirfd, mode;
	struct text path;
	if (!PyArg_ParseTuple(args, "iO&i:mkdirat", &dirfd, text_or_null, &path, &mode))
		return NULL;
	int result = mkdirat(dirfd, path.value, (mode_t)mode);
	if (result < 0)
		raise_errno("mkdirat(%d, \"%s\", 0%o)", dirfd, text_show(&path), mode);
	text_clear(&path);
	return result < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *linux_mkdir(PyObject *self, PyObject *args)
{
	(void)self;
	int mode;
	struct text path;
	if (!PyArg_ParseTuple(args, "O&i:mkdir", text_or_null, &path, &mode))
		return NULL;
	int result = mkdir(path.value, (mode_t)mode);
	if (result < 0)
		raise_errno("mkdir(\"%s\", 0%o)", text_show(&path), mode);
	text_clear(&path);
	return result < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *linux_mknodat(PyObject *self, PyObject *args)
{
	(void)self;
	int dirfd, mode;
	unsigned int major_number, minor_number;
	struct text path;
	if (!PyArg_ParseTuple(args, "iO&iII:mknodat", &dirfd, text_or_null, &path, &mode, &major_number, &minor_number))
		return NULL;
	int result = mknodat(dirfd, path.value, (mode_t)mode, makedev(major_number, minor_number));
	if (result < 0)
		raise_errno("mknodat(%d, \"%s\", 0%o, %u:%u)", dirfd, text_show(&path), mode, major_number, minor_number);
	text_clear(&path);
	return result < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *linux_symlinkat(PyObject *self, PyObject *args)
{
	(void)self;
	int dirfd;
	struct text target, path;
	if (!PyArg_ParseTuple(args, "O&iO&:symlinkat", text_or_null, &target, &dirfd, text_or_null, &path))
		return NULL;
	int result = symlinkat(target.value, dirfd, path.value);
	if (result < 0)
		raise_errno("symlinkat(\"%s\", %d, \"%s\")", text_show(&target), dirfd, text_show(&path));
	text_clear(&target);
	text_clear(&path);
	return result < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *linux_fchownat(PyObject *self, PyObject *args)
{
	(void)self;
	int dirfd, flags;
	long uid, gid;
	struct text path;
	if (!PyArg_ParseTuple(args, "iO&lli:fchownat", &dirfd, text_or_null, &path, &uid, &gid, &flags))
		return NULL;
	int result = fchownat(dirfd, path.value, (uid_t)uid, (gid_t)gid, flags);
	if (result < 0)
		raise_errno("fchownat(%d, \"%s\", %ld, %ld)", dirfd, text_show(&path), uid, gid);
	text_clear(&path);
	return result < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *linux_close_range(PyObject *self, PyObject *args)
{
	(void)self;
	struct names words;
	unsigned int first, last, flags;
	if (!PyArg_ParseTuple(args, "III:close_range", &first, &last, &flags))
		return NULL;
	if (syscall(SYS_close_range, first, last, flags) < 0)
		return raise_errno("close_range(%u, %u, %s)", first, last, flag_names(&words, "CLOSE_RANGE_", flags));
	Py_RETURN_NONE;
}

static PyObject *linux_getcwd_raw(PyObject *self, PyObject *args)
{
	(void)self;
	(void)args;
	char buffer[4096];
	if (syscall(SYS_getcwd, buffer, sizeof buffer) < 0)
		return raise_errno("getcwd()");
	return PyUnicode_DecodeUTF8(buffer, (Py_ssize_t)strlen(buffer), "surrogateescape");
}

static PyObject *linux_chdir(PyObject *self, PyObject *args)
{
	(void)self;
	struct text path;
	if (!PyArg_ParseTuple(args, "O&:chdir", text_or_null, &path))
		return NULL;
	int result = chdir(path.value);
	if (result < 0)
		raise_errno("chdir(\"%s\")", text_show(&path));
	text_clear(&path);
	return result < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *linux_fchdir(PyObject *self, PyObject *args)
{
	(void)self;
	int fd;
	if (!PyArg_ParseTuple(args, "i:fchdir", &fd))
		return NULL;
	if (fchdir(fd) < 0)
		return raise_errno("fchdir(%d)", fd);
	Py_RETURN_NONE;
}

static PyObject *linux_chroot(PyObject *self, PyObject *args)
{
	(void)self;
	struct text path;
	if (!PyArg_ParseTuple(args, "O&:chroot", text_or_null, &path))
		return NULL;
	int result = chroot(path.value);
	if (result < 0)
		raise_errno("chroot(\"%s\")", text_show(&path));
	text_clear(&path);
	return result < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *linux_statx_mount(PyObject *self, PyObject *args)
{
	(void)self;
	int fd;
	struct statx status;
	if (!PyArg_ParseTuple(args, "i:statx_mount", &fd))
		return NULL;
	if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &status) < 0)
		return raise_errno("statx(%d, STATX_MNT_ID)", fd);
	return Py_BuildValue("KO", (unsigned long long)status.stx_mnt_id,
			     status.stx_attributes & STATX_ATTR_MOUNT_ROOT ? Py_True : Py_False);
}

static PyObject *linux_flock(PyObject *self, PyObject *args)
{
	(void)self;
	int fd, operation, result;
	if (!PyArg_ParseTuple(args, "ii:flock", &fd, &operation))
		return NULL;
	CALL(result, flock(fd, operation));
	if (result < 0)
		return raise_errno("flock(%d, %d)", fd, operation);
	Py_RETURN_NONE;
}

static PyObject *set_name(PyObject *args, const char *call, int (*set)(const char *, size_t))
{
	const char *name;
	Py_ssize_t length;
	if (!PyArg_ParseTuple(args, "s#", &name, &length))
		return NULL;
	if (set(name, (size_t)length) < 0)
		return raise_errno("%s(\"%s\")", call, name);
	Py_RETURN_NONE;
}

static PyObject *linux_sethostname(PyObject *self, PyObject *args)
{
	(void)self;
	return set_name(args, "sethostname", sethostname);
}

static PyObject *linux_setdomainname(PyObject *self, PyObject *args)
{
	(void)self;
	return set_name(args, "setdomainname", setdomainname);
}

PyMethodDef path_methods[] = {
    {"openat2", linux_openat2, METH_VARARGS, "openat2(dirfd, path, flags, mode, resolve) -> fd; openat2(2)"},
    {"open", linux_open, METH_VARARGS, "open(path, flags, mode=0) -> fd, close-on-exec; open(2)"},
    {"mkdir", linux_mkdir, METH_VARARGS, "mkdir(path, mode); mkdir(2)"},
    {"mkdirat", linux_mkdirat, METH_VARARGS, "mkdirat(dirfd, path, mode); mkdir(2)"},
    {"mknodat", linux_mknodat, METH_VARARGS, "mknodat(dirfd, path, mode, major, minor); mknod(2)"},
    {"symlinkat", linux_symlinkat, METH_VARARGS, "symlinkat(target, dirfd, path); symlink(2)"},
    {"fchownat", linux_fchownat, METH_VARARGS, "fchownat(dirfd, path, uid, gid, flags); chown(2)"},
    {"close_range", linux_close_range, METH_VARARGS, "close_range(first, last, flags); close_range(2)"},
    {"getcwd_raw", linux_getcwd_raw, METH_NOARGS,
     "Return the kernel's own answer, which does not begin with a slash outside the root; getcwd(2)"},
    {"chdir", linux_chdir, METH_VARARGS, "chdir(path); chdir(2)"},
    {"fchdir", linux_fchdir, METH_VARARGS, "fchdir(fd); chdir(2)"},
    {"chroot", linux_chroot, METH_VARARGS, "chroot(path); chroot(2)"},
    {"statx_mount", linux_statx_mount, METH_VARARGS, "statx_mount(fd) -> (mount id, is fd the mount's root); statx(2)"},
    {"flock", linux_flock, METH_VARARGS, "flock(fd, operation); flock(2)"},
    {"sethostname", linux_sethostname, METH_VARARGS, "sethostname(name); sethostname(2)"},
    {"setdomainname", linux_setdomainname, METH_VARARGS, "setdomainname(name); setdomainname(2)"},
    {NULL, NULL, 0, NULL},
};
