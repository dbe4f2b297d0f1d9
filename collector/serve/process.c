#include "collector/serve/process.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static void metric(struct weir_buffer *out, const char *name, const char *type, const char *help, double value) {
    weir_buffer_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s ", name, help, name, type, name);
    weir_buffer_double(out, value);
    weir_buffer_byte(out, '\n');
}

/* Field n (1-based) of /proc/self/stat, proc(5); fields are counted behind the command's closing parenthesis. */
static double stat_field(const char *stat, int n) {
    const char *at = strrchr(stat, ')');
    for (int i = 2; at != NULL && i < n; i++)
        at = strchr(at + 1, ' ');
    return at == NULL ? 0 : strtod(at + 1, NULL);
}

static double boot_seconds(void) {
    char line[256];
    double seconds = 0;
    FILE *file = fopen("/proc/stat", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "btime %lf", &seconds) == 1) break;
    }
    if (file != NULL) fclose(file);
    return seconds;
}

static double open_descriptors(void) {
    double count = 0;
    DIR *folder = opendir("/proc/self/fd");
    if (folder == NULL) return 0;
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count - 3; /* ".", ".." and the folder itself */
}

void weir_process_expose(struct weir_buffer *out) {
    char stat[1024] = "";
    FILE *file = fopen("/proc/self/stat", "re");
    if (file != NULL) {
        size_t n = fread(stat, 1, sizeof stat - 1, file);
        stat[n] = 0;
        fclose(file);
    }
    double ticks = (double)sysconf(_SC_CLK_TCK), page = (double)sysconf(_SC_PAGESIZE);
    struct timespec cpu;
    struct rlimit files = {0};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    getrlimit(RLIMIT_NOFILE, &files);
    metric(out, "process_cpu_seconds_total", "counter", "User and system CPU time.",
           (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9);
    metric(out, "process_max_fds", "gauge", "Most descriptors that may be open.", (double)files.rlim_cur);
    metric(out, "process_open_fds", "gauge", "Descriptors open now.", open_descriptors());
    metric(out, "process_resident_memory_bytes", "gauge", "Resident memory.", stat_field(stat, 24) * page);
    metric(out, "process_start_time_seconds", "gauge", "Start of the process since the Unix epoch.",
           boot_seconds() + stat_field(stat, 22) / ticks);
    metric(out, "process_virtual_memory_bytes", "gauge", "Virtual memory.", stat_field(stat, 23));
}
