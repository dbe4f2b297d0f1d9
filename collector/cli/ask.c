#include "collector/cli/ask.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { BODY_BYTES_MAX = 16 << 20, CONNECT_MS = 5000, WHOLE_MS = 30000, TOKEN_BYTES_MAX = 4096 };

static size_t on_body(char *bytes, size_t size, size_t count, void *self) {
    struct weir_buffer *body = self;
    if (body->size + size * count > BODY_BYTES_MAX) return 0;
    weir_buffer_put(body, bytes, size * count);
    return body->failed ? 0 : size * count;
}

/* The first line of the file that is none and no comment, as `admin.bearer_token_file` reads it. */
static enum weir_status read_token(const char *path, struct curl_slist **headers, struct weir_error *err) {
    char line[TOKEN_BYTES_MAX], header[TOKEN_BYTES_MAX + 32] = "";
    FILE *file = fopen(path, "re");
    if (file == NULL) return weir_fail(err, WEIR_IO, errno, false, "%s: %s", path, strerror(errno));
    while (header[0] == 0 && fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\r\n")] = 0;
        if (line[0] != 0 && line[0] != '#') snprintf(header, sizeof header, "Authorization: Bearer %s", line);
    }
    fclose(file);
    if (header[0] == 0) return weir_fail(err, WEIR_INVALID, 0, false, "%s: no token in it", path);
    *headers = curl_slist_append(NULL, header);
    return *headers != NULL ? WEIR_OK : weir_fail(err, WEIR_FULL, ENOMEM, true, "out of memory");
}

void *weir_ask_easy(const struct weir_ask *ask, const char *path_and_query, struct curl_slist **headers,
                    struct weir_error *err) {
    struct weir_buffer url = {0};
    if (ask->token_file != NULL && read_token(ask->token_file, headers, err) != WEIR_OK) return NULL;
    size_t size = strlen(ask->admin);
    while (size > 0 && ask->admin[size - 1] == '/')
        size--;
    weir_buffer_printf(&url, "%s%.*s%s", strstr(ask->admin, "://") == NULL ? "http://" : "", (int)size, ask->admin,
                       path_and_query);
    CURL *easy = url.failed ? NULL : curl_easy_init();
    if (easy != NULL) {
        curl_easy_setopt(easy, CURLOPT_URL, (char *)url.bytes);
        curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, *headers);
        curl_easy_setopt(easy, CURLOPT_USERAGENT, "weir");
        curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
        curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)WHOLE_MS);
        if (ask->ca != NULL) curl_easy_setopt(easy, CURLOPT_CAINFO, ask->ca);
    } else {
        weir_fail(err, WEIR_FULL, ENOMEM, true, "out of memory");
    }
    weir_buffer_free(&url);
    return easy;
}

enum weir_status weir_ask(const struct weir_ask *ask, const char *path_and_query, struct weir_buffer *body,
                          long *status, struct weir_error *err) {
    struct curl_slist *headers = NULL;
    struct weir_error failed = {0};
    char why[CURL_ERROR_SIZE] = "";
    CURL *easy = weir_ask_easy(ask, path_and_query, &headers, &failed);
    CURLcode code = CURLE_FAILED_INIT;
    if (easy != NULL) {
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, body);
        curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, why);
        code = curl_easy_perform(easy);
        curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, status);
        curl_easy_cleanup(easy);
    }
    curl_slist_free_all(headers);
    if (easy == NULL) {
        if (err != NULL) *err = failed;
        return failed.status;
    }
    if (code == CURLE_OK) return WEIR_OK;
    return weir_fail(err, WEIR_IO, 0, true, "%s: %s", ask->admin, why[0] != 0 ? why : curl_easy_strerror(code));
}
