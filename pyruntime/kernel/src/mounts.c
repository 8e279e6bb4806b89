/* Mounts: the old calls and the descriptor-based ones, which are called by number: glibc has them only since 2.36. */
#include "common.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <string.h>
#include <sys/vfs.h>

/* <sys/mount.h> and <linux/mount.h> can't be included together with Debian 12's headers. */
extern int mount(const char *, const char *, const char *, unsigned long, const void *);
extern int umount2(const char *, int);

static PyObject *linux_mount(PyObject *self, PyObject *args)
{
	(void)self;
	struct text source, target, type, data;
	struct names words;
	unsigned long flags;
	int result;
	if (!PyArg_ParseTuple(args, "O&O&O&kO&:mount", text_or_null, &source, text_or_null, &target, text_or_null,
			      &type, &flags, text_or_null, &data))
		return NULL;
	Py_BEGIN_ALLOW_THREADS result = mount(source.value, target.value, type.value, flags, data.value);
	Py_END_ALLOW_THREADS if (result < 0) raise_errno("mount(\"%s\", \"%s\", \"%s\", %s, \"%s\")", text_show(&source),
							 text_show(&target), text_show(&type),
							 flag_names(&words, "MS_", flags), text_show(&data));
	text_clear(&source);
	text_clear(&target);
	text_clear(&type);
	text_clear(&data);
	return result < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *linux_umount2(PyObject *self, PyObject *args)
{
	(void)self;
	struct text target;
	struct names words;
	int flags, result;
	if (!PyArg_ParseTuple(args, "O&i:umount2", text_or_null, &target, &flags))
		return NULL;
	Py_BEGIN_ALLOW_THREADS result = umount2(target.value, flags);
	Py_END_ALLOW_THREADS if (result < 0) raise_errno("umount2(\"%s\", %s)", text_show(&target),
							 flag_names(&words, "MNT_ UMOUNT_", (unsigned int)flags));
	text_clear(&target);
	return result < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *linux_pivot_root(PyObject *self, PyObject *args)
{
	(void)self;
	struct text new_root, put_old;
	if (!PyArg_ParseTuple(args, "O&O&:pivot_root", text_or_null, &new_root, text_or_null, &put_old))
		return NULL;
	long result = syscall(SYS_pivot_root, new_root.value, put_old.value);
	if (result < 0)
		raise_errno("pivot_root(\"%s\", \"%s\")", text_show(&new_root), text_show(&put_old));
	text_clear(&new_root);
	text_clear(&put_old);
	return result < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *linux_open_tree(PyObject *self, PyObject *args)
{
	(void)self;
	int dirfd;
	struct text path;
	struct names words;
	unsigned int flags;
	long fd;
	if (!PyArg_ParseTuple(args, "iO&I:open_tree", &dirfd, text_or_null, &path, &flags))
		return NULL;
	CALL(fd, syscall(SYS_open_tree, dirfd, path.value, flags | OPEN_TREE_CLOEXEC));
	if (fd < 0)
		raise_errno("open_tree(%d, \"%s\", %s)", dirfd, text_show(&path),
			    flag_names(&words, "OPEN_TREE_ AT_", flags));
	text_clear(&path);
	return fd < 0 ? NULL : PyLong_FromLong(fd);
}

static PyObject *linux_move_mount(PyObject *self, PyObject *args)
{
	(void)self;
	int from_dirfd, to_dirfd;
	struct text from, to;
	struct names words;
	unsigned int flags;
	if (!PyArg_ParseTuple(args, "iO&iO&I:move_mount", &from_dirfd, text_or_null, &from, &to_dirfd, text_or_null, &to,
			      &flags))
		return NULL;
	long result = syscall(SYS_move_mount, from_dirfd, from.value, to_dirfd, to.value, flags);
	if (result < 0)
		raise_errno("move_mount(%d, \"%s\", %d, \"%s\", %s)", from_dirfd, text_show(&from), to_dirfd,
			    text_show(&to), flag_names(&words, "MOVE_MOUNT_", flags));
	text_clear(&from);
	text_clear(&to);
	return result < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *linux_mount_setattr(PyObject *self, PyObject *args)
{
	(void)self;
	int dirfd, userns = 0;
	struct text path;
	struct names flag_words, set_words, clear_words, propagation_words;
	unsigned int flags;
	unsigned long long set, clear, propagation;
	if (!PyArg_ParseTuple(args, "iO&IKKK|i:mount_setattr", &dirfd, text_or_null, &path, &flags, &set, &clear,
			      &propagation, &userns))
		return NULL;
	struct mount_attr attributes = {set, clear, propagation, (uint64_t)userns};
	long result = syscall(SYS_mount_setattr, dirfd, path.value, flags, &attributes, sizeof attributes);
	if (result < 0)
		raise_errno("mount_setattr(%d, \"%s\", %s, %s, %s, %s)", dirfd, text_show(&path),
			    flag_names(&flag_words, "AT_", flags), flag_names(&set_words, "MOUNT_ATTR_", set),
			    flag_names(&clear_words, "MOUNT_ATTR_", clear),
			    flag_names(&propagation_words, "MS_", propagation));
	text_clear(&path);
	return result < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *linux_fsopen(PyObject *self, PyObject *args)
{
	(void)self;
	struct text type;
	struct names words;
	unsigned int flags;
	if (!PyArg_ParseTuple(args, "O&I:fsopen", text_or_null, &type, &flags))
		return NULL;
	long fd = syscall(SYS_fsopen, type.value, flags | FSOPEN_CLOEXEC);
	if (fd < 0)
		raise_errno("fsopen(\"%s\", %s)", text_show(&type), flag_names(&words, "FSOPEN_", flags));
	text_clear(&type);
	return fd < 0 ? NULL : PyLong_FromLong(fd);
}

/* Read the kernel's log of a file system context, lines like "e tmpfs: Bad value for 'size'"; keep the last error. */
static const char *context_log(int fd, char *buffer, size_t size)
{
	const char *found = NULL;
	char line[256];
	for (;;) {
		ssize_t length = read(fd, line, sizeof line - 1);
		if (length <= 0)
			return found;
		line[length] = 0;
		if (length > 2 && line[1] == ' ' && (line[0] == 'e' || found == NULL)) {
			size_t words = strcspn(line + 2, "\n");
			if (words >= size)
				words = size - 1;
			memcpy(buffer, line + 2, words);
			buffer[words] = 0;
			found = buffer;
		}
	}
}

static PyObject *linux_fsconfig(PyObject *self, PyObject *args)
{
	(void)self;
	int fd, aux;
	unsigned int command;
	struct text key, value;
	char words[256];
	long result;
	if (!PyArg_ParseTuple(args, "iIO&O&i:fsconfig", &fd, &command, text_or_null, &key, text_or_null, &value, &aux))
		return NULL;
	CALL(result, syscall(SYS_fsconfig, fd, command, key.value, value.value, aux));
	if (result < 0) {
		int number = errno;
		raise_error(number, context_log(fd, words, sizeof words), "fsconfig(%d, %u, \"%s\", \"%s\", %d)", fd,
			    command, text_show(&key), text_show(&value), aux);
	}
	text_clear(&key);
	text_clear(&value);
	return result < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *linux_fsmount(PyObject *self, PyObject *args)
{
	(void)self;
	int fd;
	unsigned int flags, attributes;
	char words[256];
	struct names flag_words, attribute_words;
	if (!PyArg_ParseTuple(args, "iII:fsmount", &fd, &flags, &attributes))
		return NULL;
	long mount_fd = syscall(SYS_fsmount, fd, flags | FSMOUNT_CLOEXEC, attributes);
	if (mount_fd < 0) {
		int number = errno;
		return raise_error(number, context_log(fd, words, sizeof words), "fsmount(%d, %s, %s)", fd,
				   flag_names(&flag_words, "FSMOUNT_", flags),
				   flag_names(&attribute_words, "MOUNT_ATTR_", attributes));
	}
	return PyLong_FromLong(mount_fd);
}

static PyObject *linux_fspick(PyObject *self, PyObject *args)
{
	(void)self;
	int dirfd;
	struct text path;
	struct names words;
	unsigned int flags;
	if (!PyArg_ParseTuple(args, "iO&I:fspick", &dirfd, text_or_null, &path, &flags))
		return NULL;
	long fd = syscall(SYS_fspick, dirfd, path.value, flags | FSPICK_CLOEXEC);
	if (fd < 0)
		raise_errno("fspick(%d, \"%s\", %s)", dirfd, text_show(&path), flag_names(&words, "FSPICK_", flags));
	text_clear(&path);
	return fd < 0 ? NULL : PyLong_FromLong(fd);
}

static PyObject *linux_fstatfs_type(PyObject *self, PyObject *args)
{
	(void)self;
	int fd, result;
	struct statfs status;
	if (!PyArg_ParseTuple(args, "i:fstatfs_type", &fd))
		return NULL;
	CALL(result, fstatfs(fd, &status));
	if (result < 0)
		return raise_errno("fstatfs(%d)", fd);
	return PyLong_FromUnsignedLong((unsigned long)status.f_type & 0xffffffffUL);
}

PyMethodDef mount_methods[] = {
    {"mount", linux_mount, METH_VARARGS, "mount(source, target, fstype, flags, data); mount(2)"},
    {"umount2", linux_umount2, METH_VARARGS, "umount2(target, flags); umount(2)"},
    {"pivot_root", linux_pivot_root, METH_VARARGS, "pivot_root(new_root, put_old); pivot_root(2)"},
    {"open_tree", linux_open_tree, METH_VARARGS, "open_tree(dirfd, path, flags) -> fd; open_tree(2)"},
    {"move_mount", linux_move_mount, METH_VARARGS,
     "move_mount(from_dirfd, from_path, to_dirfd, to_path, flags); move_mount(2)"},
    {"mount_setattr", linux_mount_setattr, METH_VARARGS,
     "mount_setattr(dirfd, path, flags, attr_set, attr_clr, propagation, userns_fd=0); mount_setattr(2)"},
    {"fsopen", linux_fsopen, METH_VARARGS, "fsopen(fstype, flags) -> fd; fsopen(2)"},
    {"fsconfig", linux_fsconfig, METH_VARARGS,
     "fsconfig(fd, command, key, value, aux); its OSError has the kernel's message in `kernel_message`; fsconfig(2)"},
    {"fsmount", linux_fsmount, METH_VARARGS, "fsmount(fd, flags, attributes) -> fd; fsmount(2)"},
    {"fspick", linux_fspick, METH_VARARGS, "fspick(dirfd, path, flags) -> fd; fspick(2)"},
    {"fstatfs_type", linux_fstatfs_type, METH_VARARGS, "fstatfs_type(fd) -> the file system's magic; statfs(2)"},
    {NULL, NULL, 0, NULL},
};
