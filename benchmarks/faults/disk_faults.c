/* Makes file calls under some paths fail or hang, for tests: loaded with LD_PRELOAD.
 *
 * The file named by DISK_FAULTS holds one rule a line: "<error> <calls> <path part>".
 *   error      a number of errno, or "hang": block for as long as the rule exists
 *   calls      "any"; "write": only calls that create, write, rename or remove; "open": only opening
 *   path part  text that the path must contain
 * While the file does not exist, no call is changed. When a rule is applied for the first time, the
 * file "<DISK_FAULTS>.met" is created, so that a test knows that a process has reached the call.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define OPEN 1
#define WRITE 2
#define OTHER 4

/* Raw system calls: the functions of this name are replaced below. */
static long raw_open(const char *path, int flags) {
    return syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0600);
}

/* Return the error of the first rule that applies to `path`; 0: none; -1: the call hangs. */
static int rule_for(const char *rules_path, const char *path, int call) {
    static __thread char rules[4096];
    long file = raw_open(rules_path, O_RDONLY);
    if (file < 0) return 0;
    long length = syscall(SYS_read, file, rules, sizeof rules - 1);
    syscall(SYS_close, file);
    if (length <= 0) return 0;
    rules[length] = 0;
    char *line, *rest = rules;
    while ((line = strsep(&rest, "\n"))) {
        char *error = strsep(&line, " "), *calls = strsep(&line, " ");
        if (!error || !calls || !line || !*line || !strstr(path, line)) continue;
        if (!strcmp(calls, "write") && !(call & WRITE)) continue;
        if (!strcmp(calls, "open") && !(call & OPEN)) continue;
        return strcmp(error, "hang") ? atoi(error) : -1;
    }
    return 0;
}

static int fault(const char *path, int call) {
    const char *rules = getenv("DISK_FAULTS");
    if (!rules || !path || syscall(SYS_faccessat, AT_FDCWD, rules, F_OK)) return 0;
    int error = rule_for(rules, path, call), saved = errno;
    if (!error) return 0;
    char met[PATH_MAX];
    snprintf(met, sizeof met, "%s.met", rules);
    long file = raw_open(met, O_WRONLY | O_CREAT);
    if (file >= 0) syscall(SYS_close, file);
    while (error < 0) {
        struct timespec moment = {0, 20 * 1000 * 1000};
        nanosleep(&moment, NULL);
        error = rule_for(rules, path, call);
    }
    errno = error ? error : saved;
    return error;
}

static int fault_at(int folder, const char *path, int call) {
    const char *rules = getenv("DISK_FAULTS");
    if (!rules || !path || syscall(SYS_faccessat, AT_FDCWD, rules, F_OK)) return 0;
    if (path[0] == '/' || folder == AT_FDCWD) return fault(path, call);
    char link[64], whole[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    long length = syscall(SYS_readlinkat, AT_FDCWD, link, whole, sizeof whole - 1);
    if (length < 0) return 0;
    snprintf(whole + length, sizeof whole - length, "/%s", path);
    return fault(whole, call);
}

static int fault_on(int fd, int call) {
    const char *rules = getenv("DISK_FAULTS");
    if (!rules || syscall(SYS_faccessat, AT_FDCWD, rules, F_OK)) return 0;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long length = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return fault(path, call);
}

#define NEXT(name) \
    static __typeof__(name) *next; \
    if (!next) next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)
#define CALL_OF(flags) (OPEN | (((flags) & (O_WRONLY | O_RDWR | O_CREAT)) ? WRITE : 0))

#define OPENS(name) \
    int name(const char *path, int flags, ...) { \
        NEXT(name); \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = va_arg(more, mode_t); \
        va_end(more); \
        return fault(path, CALL_OF(flags)) ? -1 : next(path, flags, mode); \
    }
OPENS(open)
OPENS(open64)

#define OPENS_AT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        NEXT(name); \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = va_arg(more, mode_t); \
        va_end(more); \
        return fault_at(folder, path, CALL_OF(flags)) ? -1 : next(folder, path, flags, mode); \
    }
OPENS_AT(openat)
OPENS_AT(openat64)

#define FOPENS(name) \
    FILE *name(const char *path, const char *mode) { \
        NEXT(name); \
        return fault(path, OPEN | (mode[0] == 'r' ? 0 : WRITE)) ? NULL : next(path, mode); \
    }
FOPENS(fopen)
FOPENS(fopen64)

/* Calls that name a path and return an int, and those on an open file. */
#define ON_PATH(call, name, signature, path, arguments) \
    int name signature { \
        NEXT(name); \
        return fault(path, call) ? -1 : next arguments; \
    }
#define AT_PATH(call, name, signature, arguments) \
    int name signature { \
        NEXT(name); \
        return fault_at(folder, path, call) ? -1 : next arguments; \
    }
#define ON_FILE(call, type, name, signature, arguments) \
    type name signature { \
        NEXT(name); \
        return fault_on(fd, call) ? -1 : next arguments; \
    }

ON_PATH(OTHER, stat, (const char *path, struct stat *found), path, (path, found))
ON_PATH(OTHER, stat64, (const char *path, struct stat64 *found), path, (path, found))
ON_PATH(OTHER, lstat, (const char *path, struct stat *found), path, (path, found))
ON_PATH(OTHER, lstat64, (const char *path, struct stat64 *found), path, (path, found))
ON_PATH(OTHER, statvfs, (const char *path, struct statvfs *found), path, (path, found))
ON_PATH(OTHER, statvfs64, (const char *path, struct statvfs64 *found), path, (path, found))
ON_PATH(OTHER, access, (const char *path, int mode), path, (path, mode))
ON_PATH(WRITE, mkdir, (const char *path, mode_t mode), path, (path, mode))
ON_PATH(WRITE, rmdir, (const char *path), path, (path))
ON_PATH(WRITE, unlink, (const char *path), path, (path))
ON_PATH(WRITE, rename, (const char *path, const char *to), path, (path, to))
AT_PATH(OTHER, fstatat, (int folder, const char *path, struct stat *found, int flags),
        (folder, path, found, flags))
AT_PATH(OTHER, fstatat64, (int folder, const char *path, struct stat64 *found, int flags),
        (folder, path, found, flags))
AT_PATH(OTHER, statx,
        (int folder, const char *path, int flags, unsigned mask, struct statx *found),
        (folder, path, flags, mask, found))
AT_PATH(WRITE, unlinkat, (int folder, const char *path, int flags), (folder, path, flags))
AT_PATH(WRITE, mkdirat, (int folder, const char *path, mode_t mode), (folder, path, mode))
ON_FILE(OTHER, ssize_t, read, (int fd, void *to, size_t size), (fd, to, size))
ON_FILE(OTHER, ssize_t, pread, (int fd, void *to, size_t size, off_t at), (fd, to, size, at))
ON_FILE(OTHER, ssize_t, pread64, (int fd, void *to, size_t size, off64_t at), (fd, to, size, at))
ON_FILE(WRITE, ssize_t, write, (int fd, const void *from, size_t size), (fd, from, size))
ON_FILE(WRITE, ssize_t, writev, (int fd, const struct iovec *from, int count), (fd, from, count))
ON_FILE(WRITE, ssize_t, pwrite, (int fd, const void *from, size_t size, off_t at),
        (fd, from, size, at))
ON_FILE(WRITE, int, fsync, (int fd), (fd))
ON_FILE(WRITE, int, fdatasync, (int fd), (fd))

DIR *opendir(const char *path) {
    NEXT(opendir);
    return fault(path, OPEN) ? NULL : next(path);
}
