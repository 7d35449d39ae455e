/* Stands before the C library's functions and makes them fail, or kills, at the Nth one that changes
 * FAULTS_BELOW. Used by syscall_faults.py where ptrace is forbidden; counts calls of functions, not of
 * the kernel, so its numbers may differ from ptrace's. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static char below[PATH_MAX];
static const char *calls = "";
static size_t below_length;
static long at, error_code, once;
static int log_file = -1;
static uint64_t *matching; /* shared by all processes */

__attribute__((constructor)) static void begin(void) {
    const char *folder = getenv("FAULTS_BELOW"), *log = getenv("FAULTS_LOG");
    char counter[PATH_MAX];
    if (!folder || !log) return;
    snprintf(below, sizeof below, "%s", folder);
    below_length = strlen(below);
    at = atol(getenv("FAULTS_AT"));
    error_code = atol(getenv("FAULTS_ERROR"));
    once = atol(getenv("FAULTS_ONCE"));
    calls = strdup(getenv("FAULTS_CALLS"));
    log_file = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CLOEXEC, 0);
    snprintf(counter, sizeof counter, "%s.count", log);
    int file = (int)syscall(SYS_openat, AT_FDCWD, counter, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0 || syscall(SYS_ftruncate, file, 8L) != 0) _exit(70);
    void *shared = mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (shared == MAP_FAILED || log_file < 0) _exit(70);
    matching = shared;
    syscall(SYS_close, file);
}

static int is_below(const char *path) {
    return strncmp(path, below, below_length) == 0 && (path[below_length] == '/' || !path[below_length]);
}

/* 1: the call is to fail, errno is set. */
static int strike(const char *name, const char *path) {
    char line[PATH_MAX + 64], wanted[64];
    int hit = 0;
    const char *rest = path[below_length] ? path + below_length + 1 : ".";
    snprintf(wanted, sizeof wanted, " %s ", name);
    if (at && strstr(calls, wanted)) {
        long number = (long)__atomic_add_fetch(matching, 1, __ATOMIC_SEQ_CST);
        hit = number == at || (number > at && error_code && !once);
    }
    int length = snprintf(line, sizeof line, "%c %s %s\n", hit ? '!' : ' ', name, rest);
    syscall(SYS_write, log_file, line, (long)length);
    if (!hit) return 0;
    if (!error_code) {
        kill(0, SIGKILL);
        for (;;) pause();
    }
    errno = (int)error_code;
    return 1;
}

static int by_file(const char *name, int file) {
    char link[64], path[PATH_MAX];
    if (!matching) return 0;
    int saved = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    long length = syscall(SYS_readlinkat, AT_FDCWD, link, path, (long)sizeof path - 1);
    errno = saved;
    if (length <= 0) return 0;
    path[length] = 0;
    return is_below(path) ? strike(name, path) : 0;
}

static int by_path(const char *name, int folder, const char *given) {
    char link[64], path[PATH_MAX], parent[PATH_MAX], real[PATH_MAX], whole[2 * PATH_MAX];
    if (!matching || !given) return 0;
    int saved = errno;
    if (given[0] == '/') snprintf(path, sizeof path, "%s", given);
    else {
        snprintf(link, sizeof link, folder == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", folder);
        long length = syscall(SYS_readlinkat, AT_FDCWD, link, path, (long)sizeof path - 1);
        if (length <= 0) { errno = saved; return 0; }
        snprintf(path + length, sizeof path - (size_t)length, "/%s", given);
    }
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/') path[--end] = 0;
    char *last = strrchr(path, '/');
    snprintf(parent, sizeof parent, "%.*s", last == path ? 1 : (int)(last - path), path);
    if (!realpath(parent, real)) { errno = saved; return 0; }
    snprintf(whole, sizeof whole, "%s/%s", strcmp(real, "/") ? real : "", last + 1);
    errno = saved;
    return is_below(whole) ? strike(name, whole) : 0;
}

#define REAL(type, name, arguments) \
    static type(*real) arguments; \
    if (!real) real = (type(*) arguments)dlsym(RTLD_NEXT, name)

#define BY_FILE(type, function, call, parameters, types, values) \
    type function parameters { \
        REAL(type, #function, types); \
        return by_file(call, file) ? -1 : real values; \
    }
BY_FILE(ssize_t, write, "write", (int file, const void *b, size_t n), (int, const void *, size_t), (file, b, n))
BY_FILE(ssize_t, pwrite, "pwrite64", (int file, const void *b, size_t n, off_t o),
        (int, const void *, size_t, off_t), (file, b, n, o))
BY_FILE(ssize_t, pwrite64, "pwrite64", (int file, const void *b, size_t n, off64_t o),
        (int, const void *, size_t, off64_t), (file, b, n, o))
BY_FILE(ssize_t, writev, "writev", (int file, const struct iovec *v, int n), (int, const struct iovec *, int), (file, v, n))
BY_FILE(ssize_t, pwritev, "pwritev", (int file, const struct iovec *v, int n, off_t o),
        (int, const struct iovec *, int, off_t), (file, v, n, o))
BY_FILE(ssize_t, pwritev64, "pwritev", (int file, const struct iovec *v, int n, off64_t o),
        (int, const struct iovec *, int, off64_t), (file, v, n, o))
BY_FILE(ssize_t, sendfile, "sendfile", (int file, int in, off_t *o, size_t n), (int, int, off_t *, size_t), (file, in, o, n))
BY_FILE(ssize_t, sendfile64, "sendfile", (int file, int in, off64_t *o, size_t n),
        (int, int, off64_t *, size_t), (file, in, o, n))
BY_FILE(int, fsync, "fsync", (int file), (int), (file))
BY_FILE(int, fdatasync, "fdatasync", (int file), (int), (file))
BY_FILE(int, ftruncate, "ftruncate", (int file, off_t n), (int, off_t), (file, n))
BY_FILE(int, ftruncate64, "ftruncate", (int file, off64_t n), (int, off64_t), (file, n))
BY_FILE(int, fallocate, "fallocate", (int file, int m, off_t o, off_t n), (int, int, off_t, off_t), (file, m, o, n))
BY_FILE(int, fallocate64, "fallocate", (int file, int m, off64_t o, off64_t n),
        (int, int, off64_t, off64_t), (file, m, o, n))

int posix_fallocate(int file, off_t o, off_t n) {
    REAL(int, "posix_fallocate", (int, off_t, off_t));
    return by_file("fallocate", file) ? errno : real(file, o, n);
}
int posix_fallocate64(int file, off64_t o, off64_t n) {
    REAL(int, "posix_fallocate64", (int, off64_t, off64_t));
    return by_file("fallocate", file) ? errno : real(file, o, n);
}

#define BY_PATH(function, parameters, types, values, folder, path) \
    int function parameters { \
        REAL(int, #function, types); \
        return by_path(#function, folder, path) ? -1 : real values; \
    }
BY_PATH(unlink, (const char *p), (const char *), (p), AT_FDCWD, p)
BY_PATH(rmdir, (const char *p), (const char *), (p), AT_FDCWD, p)
BY_PATH(mkdir, (const char *p, mode_t m), (const char *, mode_t), (p, m), AT_FDCWD, p)
BY_PATH(truncate, (const char *p, off_t n), (const char *, off_t), (p, n), AT_FDCWD, p)
BY_PATH(unlinkat, (int d, const char *p, int f), (int, const char *, int), (d, p, f), d, p)
BY_PATH(mkdirat, (int d, const char *p, mode_t m), (int, const char *, mode_t), (d, p, m), d, p)
BY_PATH(rename, (const char *a, const char *p), (const char *, const char *), (a, p), AT_FDCWD, p)
BY_PATH(renameat, (int c, const char *a, int d, const char *p), (int, const char *, int, const char *), (c, a, d, p), d, p)
BY_PATH(link, (const char *a, const char *p), (const char *, const char *), (a, p), AT_FDCWD, p)
BY_PATH(symlink, (const char *a, const char *p), (const char *, const char *), (a, p), AT_FDCWD, p)

#define OPENS(function, call, parameters, types, values, folder) \
    int function parameters { \
        REAL(int, #function, types); \
        mode_t mode = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { \
            va_list more; \
            va_start(more, flags); \
            mode = va_arg(more, mode_t); \
            va_end(more); \
        } \
        if ((flags & (O_CREAT | O_TRUNC)) && by_path(call, folder, path)) return -1; \
        return real values; \
    }
OPENS(open, "open", (const char *path, int flags, ...), (const char *, int, ...), (path, flags, mode), AT_FDCWD)
OPENS(open64, "open", (const char *path, int flags, ...), (const char *, int, ...), (path, flags, mode), AT_FDCWD)
OPENS(openat, "openat", (int d, const char *path, int flags, ...), (int, const char *, int, ...), (d, path, flags, mode), d)
OPENS(openat64, "openat", (int d, const char *path, int flags, ...), (int, const char *, int, ...), (d, path, flags, mode), d)

static FILE *reopen_checked(const char *call, const char *path, const char *mode, FILE *(*real)(const char *, const char *)) {
    if ((mode[0] == 'w' || mode[0] == 'a') && by_path(call, AT_FDCWD, path)) return NULL;
    return real(path, mode);
}
FILE *fopen(const char *path, const char *mode) {
    REAL(FILE *, "fopen", (const char *, const char *));
    return reopen_checked("open", path, mode, real);
}
FILE *fopen64(const char *path, const char *mode) {
    REAL(FILE *, "fopen64", (const char *, const char *));
    return reopen_checked("open", path, mode, real);
}
