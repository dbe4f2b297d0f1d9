/* options.h - every key of the configuration, one row each: where it stands, what it may be, what it is by default.
 * Reading, --help pages, needs-restart and docs/configuration.md all come from these rows. */
#ifndef WEIR_CONFIG_OPTIONS_H
#define WEIR_CONFIG_OPTIONS_H
#include "collector/config/config.h"

enum weir_option_type {
    WEIR_OPTION_LISTEN,   /* struct weir_listen */
    WEIR_OPTION_BYTES,    /* uint64_t */
    WEIR_OPTION_DURATION, /* uint64_t, ns */
    WEIR_OPTION_COUNT,    /* uint32_t */
    WEIR_OPTION_LEVEL,    /* int32_t */
    WEIR_OPTION_RATIO,    /* double: 0 to 1, or with a % */
    WEIR_OPTION_BOOL,     /* bool */
    WEIR_OPTION_ENUM,     /* an enum: the index into `words` */
    WEIR_OPTION_WORD,     /* char[]: one of `words` */
    WEIR_OPTION_TEXT,     /* char[]: any, but not empty */
    WEIR_OPTION_URL,      /* char[]: http:// or https://; may hold a password, so it is not shown */
    WEIR_OPTION_URLS,     /* char[]: likewise, and grpc:// or grpcs://; with commas between */
    WEIR_OPTION_FOLDER,   /* char[]: a path, relative to the working directory; empty only where the default is */
    WEIR_OPTION_PATH,     /* char[]: a path, relative to the file that names it */
    WEIR_OPTION_SECONDS,  /* struct weir_aggregate_config: latency_buckets and their count */
    WEIR_OPTION_NETWORKS, /* char[]: address/prefix, with commas between */
    WEIR_OPTION_HEADERS,  /* headers and their count; values are secret */
    WEIR_OPTION_HEADERS_FILE,
};

/* Which struct `offset` counts from, and whose keys stand together. */
enum weir_option_scope {
    WEIR_SCOPE_TOP,      /* struct weir_config; the key is the whole path */
    WEIR_SCOPE_EXPORTER, /* struct weir_exporter_config, of every type */
    WEIR_SCOPE_FILE,     /* struct weir_exporter_config, type file */
    WEIR_SCOPE_ZIPKIN,
    WEIR_SCOPE_KAFKA,
    WEIR_SCOPE_OTLP,
    WEIR_SCOPES,
};
extern const char *const weir_scope_types[WEIR_SCOPES]; /* exporter types; NULL for the first two */

struct weir_option {
    const char *key; /* receivers.grpc.max_message_bytes, or within its exporter: directory */
    enum weir_option_scope scope;
    enum weir_option_type type;
    uint32_t offset, size;
    const char *fallback;     /* the default, as one would write it */
    int64_t min, max;         /* in bytes, ns, or as they stand; both 0 = none */
    const char *const *words; /* ends with NULL */
    bool live;                /* a reload changes it; else a restart */
    const char *help;         /* one sentence */
};

extern const struct weir_option weir_options[]; /* ends with key NULL */

/* What listens: its section of the file, and its struct weir_listen in struct weir_config. */
struct weir_listen_option {
    const char *section; /* receivers.grpc, admin */
    uint32_t offset;
    bool datagram;
};
extern const struct weir_listen_option weir_listen_options[]; /* ends with section NULL */

/* What values hang on besides their text. */
struct weir_option_env {
    const char *host;   /* for listeners that name none */
    const char *folder; /* of the configuration file; "" or ends with a slash */
};

/* Sets the field in `base` (of the row's scope) from one scalar; lists are written with commas. False: `why` says what
 * the text is not and what is allowed, to stand behind the text itself; the field is as before. Not for HEADERS. */
bool weir_option_set(const struct weir_option *option, void *base, const char *text, const struct weir_option_env *env,
                     char *why, size_t why_size);
bool weir_option_equal(const struct weir_option *option, const void *a, const void *b);
/* Whether errors may show what was given. */
bool weir_option_secret(const struct weir_option *option);
/* "1 to 64", "1KiB to 1GiB", "none, ip, host", "" */
void weir_option_allowed(const struct weir_option *option, char *out, size_t out_size);
/* One header into `config`; false with `why`, which never has the value. */
bool weir_option_add_header(struct weir_exporter_config *config, const char *name, const char *value, char *why,
                            size_t why_size);
#endif
