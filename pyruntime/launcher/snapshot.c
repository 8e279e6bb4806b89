/*
 * A snapshot: the interpreter as the build left it.
 *
 * Setting up the interpreter's core and importing a command's modules takes two milliseconds, and has the same result
 * each time. So the build does it once: it runs this program with MAKE_SNAPSHOT set. The interpreter then allocates all
 * memory in `room`, which is part of the program's data, like its variables. When everything is imported, this data is
 * written to standard output, and building/snapshot.py makes it the data of the program's file. A start finds all of it
 * in place: the kernel maps the file, and copies a page when it is first written to. A program that has its snapshot
 * never looks at MAKE_SNAPSHOT.
 *
 * This works because nothing in the data depends on the process. Addresses are fixed (-no-pie, a static libpython);
 * functions of the C library are called through the program's own table; what belongs to a process - its threads, its
 * environment, the paths of its files - is set by resume_snapshot() and start_interpreter(). The build refuses a
 * snapshot that contains an address outside the program, so each process loads extension modules later, for itself. Nor
 * does anything depend on the build, except the key for hashing text, which the build draws and this program reads from
 * standard input: with the same key the same sources make the same file.
 */
#define _GNU_SOURCE
#define Py_BUILD_CORE 1
#include <Python.h>

#include "launcher.h"

#ifdef WITH_SNAPSHOT

#undef _PyGC_FINALIZED
#include <internal/pycore_runtime.h>
#if PY_VERSION_HEX >= 0x030d0000 && defined(WITH_MIMALLOC)
#include <internal/pycore_mimalloc.h>
extern mi_heap_t _mi_heap_main;
#endif

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAKE_SNAPSHOT "_PYRUNTIME_MAKE_SNAPSHOT"
#define ROOM (8u << 20)
#define PAGE 4096u

extern char **environ;
/* The linker's symbols for the start and the end of the program's variables. */
extern char data_start[], _end[];

static struct {
	size_t used;
	enum { NONE, MAKING, MADE } snapshot;
	PyThreadState *thread;
} state;
/* "common" places it last, so that its unused part takes no space in the file. */
char room[ROOM] __attribute__((common, aligned(PAGE)));

/* The header of a block allocated while the snapshot is made: its size and, once freed, the next free block. */
struct block {
	size_t size;
	struct block *next;
};
#define UNIT sizeof(struct block)
static struct block *free_blocks[4096 / UNIT];

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void __real_free(void *old);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void __wrap_free(void *old);

static int is_in_room(const void *place)
{
	return (uintptr_t)place - (uintptr_t)room < ROOM;
}

/* Return unused memory of the room, which is zero; NULL when none is left. */
static void *take(size_t size, size_t alignment)
{
	size_t begin = (state.used + alignment - 1) & ~(alignment - 1);
	if (size > ROOM || begin > ROOM - size)
		return NULL;
	state.used = begin + size;
	return room + begin;
}

/* The linker redirects the interpreter's calls of malloc and related functions here (--wrap). */
void *__wrap_malloc(size_t size)
{
	if (state.snapshot != MAKING)
		return __real_malloc(size);
	if (size > ROOM)
		return NULL;
	size = (size + UNIT - 1) / UNIT * UNIT;
	struct block **kept = size / UNIT < sizeof free_blocks / sizeof *free_blocks ? &free_blocks[size / UNIT] : NULL;
	struct block *block = kept == NULL ? NULL : *kept;
	if (block != NULL)
		*kept = block->next;
	else if ((block = take(UNIT + size, UNIT)) == NULL)
		return NULL;
	block->size = size;
	return memset(block + 1, 0, size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	if (state.snapshot != MAKING)
		return __real_calloc(count, size);
	return size != 0 && count > ROOM / size ? NULL : __wrap_malloc(count * size);
}

void *__wrap_realloc(void *old, size_t size)
{
	if (old == NULL)
		return __wrap_malloc(size);
	if (!is_in_room(old))
		return __real_realloc(old, size);
	size_t before = ((struct block *)old)[-1].size;
	void *new = __wrap_malloc(size);
	if (new != NULL) {
		memcpy(new, old, before < size ? before : size);
		__wrap_free(old);
	}
	return new;
}

void __wrap_free(void *old)
{
	if (!is_in_room(old)) {
		__real_free(old);
	} else if (state.snapshot == MAKING) {
		struct block *block = (struct block *)old - 1;
		size_t number = block->size / UNIT;
		if (number < sizeof free_blocks / sizeof *free_blocks) {
			block->next = free_blocks[number];
			free_blocks[number] = block;
		}
	}
}

/* Allocate an arena, where the interpreter keeps objects: from the room until it is full, even after the snapshot. */
static void *arena(void *context, size_t size)
{
	(void)context;
	void *place = take(size, PAGE);
	if (place != NULL || state.snapshot == MAKING)
		return place;
	place = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return place == MAP_FAILED ? NULL : place;
}

static void free_arena(void *context, void *place, size_t size)
{
	(void)context;
	if (!is_in_room(place))
		munmap(place, size);
}

/*
 * Allocators in front of the interpreter's own that zero new objects. Otherwise data that earlier objects of the
 * build's process have left in the gaps of later ones, such as its pid, would get into the file.
 */
static PyMemAllocatorEx inner[2];
static const PyMemAllocatorDomain domains[2] = {PYMEM_DOMAIN_MEM, PYMEM_DOMAIN_OBJ};

static void *empty_malloc(void *context, size_t size)
{
	PyMemAllocatorEx *allocator = context;
	/* Blocks are larger than the requested size, and the rest gets into the file as well. */
	void *new = allocator->malloc(allocator->ctx, size = (size + UNIT - 1) / UNIT * UNIT);
	return new == NULL ? NULL : memset(new, 0, size);
}

static void *empty_calloc(void *context, size_t count, size_t size)
{
	PyMemAllocatorEx *allocator = context;
	return allocator->calloc(allocator->ctx, count, size);
}

static void *empty_realloc(void *context, void *old, size_t size)
{
	PyMemAllocatorEx *allocator = context;
	return old == NULL ? empty_malloc(context, size) : allocator->realloc(allocator->ctx, old, size);
}

static void empty_free(void *context, void *old)
{
	PyMemAllocatorEx *allocator = context;
	allocator->free(allocator->ctx, old);
}

static void begin_to_empty(void)
{
	for (int i = 0; i < 2; i++) {
		PyMemAllocatorEx ours = {&inner[i], empty_malloc, empty_calloc, empty_realloc, empty_free};
		PyMem_GetAllocator(domains[i], &inner[i]);
		PyMem_SetAllocator(domains[i], &ours);
	}
}

static void end_to_empty(void)
{
	for (int i = 0; i < 2; i++)
		PyMem_SetAllocator(domains[i], &inner[i]);
}

/* The linker redirects the interpreter's function that draws its hash key here (--wrap). */
PyStatus __real__Py_HashRandomization_Init(const PyConfig *config);
PyStatus __wrap__Py_HashRandomization_Init(const PyConfig *config);
PyStatus __wrap__Py_HashRandomization_Init(const PyConfig *config)
{
	if (state.snapshot != MAKING)
		return __real__Py_HashRandomization_Init(config);
	if (read(0, &_Py_HashSecret, sizeof _Py_HashSecret) != (ssize_t)sizeof _Py_HashSecret)
		die("read the key for hashes");
	return PyStatus_Ok();
}

int begin_snapshot(void)
{
	if (state.snapshot != NONE || secure_getenv(MAKE_SNAPSHOT) == NULL)
		return 0;
	/* Keep the C library from using a heap at low addresses, which could not be distinguished from numbers. */
	char *heap = sbrk(0);
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	heap += -(uintptr_t)heap % page;
	if (mmap(heap, page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != heap)
		die("map the page behind the program");
	PyObjectArenaAllocator allocator = {.alloc = arena, .free = free_arena};
	PyObject_SetArenaAllocator(&allocator);
	begin_to_empty();
	state.snapshot = MAKING;
	return 1;
}

int is_making_snapshot(void)
{
	return state.snapshot == MAKING;
}

int is_snapshot(void)
{
	return state.snapshot == MADE;
}

/* Clear the variables that the linker or resume_snapshot() sets before they are used. */
static void forget_this_process(char *copy)
{
	char *const own[] = {(char *)&environ,
			     (char *)&stdin,
			     (char *)&stdout,
			     (char *)&stderr,
			     (char *)&_PyRuntime.main_thread,
#if PY_VERSION_HEX >= 0x030d0000 && defined(WITH_MIMALLOC)
			     (char *)&_mi_heap_main.thread_id, /* of an unused allocator */
#endif
			     (char *)&state.thread->native_thread_id,
			     (char *)&state.thread->thread_id};
	for (size_t i = 0; i < sizeof own / sizeof *own; i++)
		memset(copy + (own[i] - data_start), 0, sizeof(void *));
}

static void write_all(int fd, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t written = write(fd, data, size);
		if (written <= 0)
			die("write the snapshot");
		data += written;
		size -= (size_t)written;
	}
}

/* Write the text of /proc/self/maps, a null byte, and the program's variables from data_start to _end. */
void end_snapshot(void)
{
	size_t size = (size_t)(_end - data_start);
	char part[4096], *copy = __real_malloc(size);
	int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	if (copy == NULL || maps < 0)
		die("begin to write the snapshot");
	for (ssize_t count; (count = read(maps, part, sizeof part)) > 0;)
		write_all(1, part, (size_t)count);
	write_all(1, "", 1);
	end_to_empty();
	state.snapshot = MADE;
	state.thread = PyEval_SaveThread();
	/* Clear frames that have returned: they point to each other and to the C stack. */
	PyObject **unused = state.thread->datastack_top;
	memset(unused, 0, (size_t)((char *)state.thread->datastack_limit - (char *)unused));
	memcpy(copy, data_start, size);
	forget_this_process(copy);
	write_all(1, copy, size);
	exit(0);
}

#if PY_VERSION_HEX < 0x030c0000
#define THREAD_KEY _PyRuntime.gilstate.autoTSSkey
#else
#define THREAD_KEY _PyRuntime.autoTSSkey
#endif

/* Taking the GIL looks up the thread's state under a key of the C library, and signals are handled by the thread that
 * has the identity of the main one. The locks are free, as the build's only thread has left them. */
void resume_snapshot(void)
{
	PyThreadState *thread = state.thread;
	_PyRuntime.main_thread = thread->thread_id = PyThread_get_thread_ident();
	thread->native_thread_id = PyThread_get_thread_native_id();
	THREAD_KEY = (Py_tss_t)Py_tss_NEEDS_INIT;
	if (PyThread_tss_create(&THREAD_KEY) != 0 || PyThread_tss_set(&THREAD_KEY, thread) != 0)
		die("make a key for the thread's state");
	PyEval_RestoreThread(thread);
}

#else

int begin_snapshot(void)
{
	return 0;
}

int is_making_snapshot(void)
{
	return 0;
}

int is_snapshot(void)
{
	return 0;
}

void end_snapshot(void)
{
}

void resume_snapshot(void)
{
}

#endif
