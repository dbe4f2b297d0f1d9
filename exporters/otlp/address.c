#include "exporters/otlp/address.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

static bool part(CURLU *url, CURLUPart which, unsigned flags, char *out, size_t size) {
    char *text = NULL;
    bool fits = curl_url_get(url, which, &text, flags) == CURLUE_OK && strlen(text) < size;
    snprintf(out, size, "%s", fits ? text : "");
    curl_free(text);
    return fits;
}

static bool absent(CURLU *url, CURLUPart which) {
    char *text = NULL;
    bool none = curl_url_get(url, which, &text, 0) != CURLUE_OK;
    curl_free(text);
    return none;
}

/* NULL: sound; else why it is not. */
static const char *read_grpc(CURLU *url, struct weir_otlp_address *address) {
    char path[8];
    if (!absent(url, CURLUPART_USER) || !absent(url, CURLUPART_QUERY) || !absent(url, CURLUPART_FRAGMENT) ||
        !part(url, CURLUPART_PATH, 0, path, sizeof path) || strcmp(path, "/") != 0)
        return "more than grpc://host:port; what a server asks for is given by headers";
    if (!part(url, CURLUPART_PORT, 0, address->port, sizeof address->port))
        snprintf(address->port, sizeof address->port, "4317");
    char *host = address->host;
    if (!part(url, CURLUPART_HOST, 0, host, sizeof address->host)) return "no host, or a long one";
    snprintf(address->authority, sizeof address->authority, "%s:%s", host, address->port);
    if (host[0] == '[') { /* of an IPv6 address */
        size_t size = strlen(host);
        memmove(host, host + 1, size - 2);
        host[size - 2] = 0;
    }
    size_t wrote = (size_t)snprintf(address->name, sizeof address->name, "%s://%s", address->secure ? "grpcs" : "grpc",
                                    address->authority);
    return wrote < sizeof address->name ? NULL : "too long";
}

static const char *read_http(CURLU *url, struct weir_otlp_address *address) {
    char path[WEIR_TEXT_MAX];
    if (!part(url, CURLUPART_PATH, 0, path, sizeof path)) return "too long";
    if (strcmp(path, "/") == 0 && curl_url_set(url, CURLUPART_PATH, "/v1/traces", 0) != CURLUE_OK)
        return "out of memory";
    if (!part(url, CURLUPART_URL, 0, address->url, sizeof address->url)) return "too long";
    curl_url_set(url, CURLUPART_USER, NULL, 0);
    curl_url_set(url, CURLUPART_PASSWORD, NULL, 0);
    curl_url_set(url, CURLUPART_QUERY, NULL, 0);
    curl_url_set(url, CURLUPART_FRAGMENT, NULL, 0);
    return part(url, CURLUPART_URL, 0, address->name, sizeof address->name) ? NULL : "too long";
}

static const char *read_one(const char *text, struct weir_otlp_address *address) {
    char scheme[8];
    const char *why = NULL;
    if (strpbrk(text, "\"\\ ") != NULL) return "a character that no URL has";
    CURLU *url = curl_url();
    if (url == NULL) return "out of memory";
    CURLUcode code = curl_url_set(url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME);
    *address = (struct weir_otlp_address){.grpc = false};
    if (code != CURLUE_OK) {
        why = curl_url_strerror(code);
    } else if (!part(url, CURLUPART_SCHEME, 0, scheme, sizeof scheme)) {
        why = "an unknown scheme";
    } else {
        address->grpc = strcmp(scheme, "grpc") == 0 || strcmp(scheme, "grpcs") == 0;
        address->secure = strcmp(scheme, "grpcs") == 0 || strcmp(scheme, "https") == 0;
        if (!address->grpc && strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0)
            why = "an unknown scheme";
        else
            why = address->grpc ? read_grpc(url, address) : read_http(url, address);
    }
    curl_url_cleanup(url);
    return why;
}

enum weir_status weir_otlp_addresses(const char *text, struct weir_otlp_address addresses[WEIR_ENDPOINTS_MAX],
                                     uint32_t *count, struct weir_error *err) {
    *count = 0;
    while (*text != 0) {
        char one[WEIR_TEXT_MAX];
        text += strspn(text, " ");
        size_t size = strcspn(text, ","), end = size;
        while (end > 0 && text[end - 1] == ' ')
            end--;
        const char *why = NULL;
        if (*count == WEIR_ENDPOINTS_MAX)
            return weir_fail(err, WEIR_INVALID, 0, false, "otlp: endpoints: more than %d", WEIR_ENDPOINTS_MAX);
        if (end >= sizeof one) {
            why = "too long";
        } else {
            snprintf(one, sizeof one, "%.*s", (int)end, text);
            why = read_one(one, &addresses[*count]);
        }
        for (uint32_t i = 0; why == NULL && i < *count; i++) {
            if (strcmp(addresses[i].name, addresses[*count].name) == 0) why = "given twice";
        }
        if (why != NULL) /* not the text: it may hold a password */
            return weir_fail(err, WEIR_INVALID, 0, false, "otlp: endpoints: number %u: %s", *count + 1, why);
        ++*count;
        text += size + (text[size] == ',');
    }
    if (*count == 0) return weir_fail(err, WEIR_INVALID, 0, false, "otlp: endpoints: is empty");
    return WEIR_OK;
}
