#include "collector/receive/reflection.h"
#include "collector/core/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* descriptors.c in the build tree: a FileDescriptorSet{1 file}, each file behind those that it imports. */
extern const uint8_t weir_descriptors[];
extern const size_t weir_descriptors_size;

enum {
    REQUEST_BYTES_MAX = 4096, /* it is a name; and it comes back with the answer */
    FILES_MAX = 64,
};

struct text {
    const uint8_t *bytes;
    size_t size;
};

static bool same(struct text a, struct text b) {
    return a.size == b.size && (a.size == 0 || memcmp(a.bytes, b.bytes, a.size) == 0);
}

/* The last field `number` of a message that is known to read; empty when it is not there. */
static struct text field_of(struct text message, uint32_t number) {
    struct weir_wire wire = weir_wire_of(message.bytes, message.size);
    struct weir_wire_field field;
    struct text found = {NULL, 0};
    while (weir_wire_next(&wire, &field)) {
        if (field.number == number && field.type == WEIR_WIRE_BYTES)
            found = (struct text){field.bytes, (size_t)field.value};
    }
    return found;
}

/* ---- symbols ---- */

/* Which fields of a descriptor hold what has a name (google/protobuf/descriptor.proto); `name` is field 1 of each. */
enum kind { A_FILE, A_MESSAGE, AN_ENUM, A_SERVICE, A_NAME, KINDS };
static const struct child {
    uint32_t field;
    enum kind kind;
} children[KINDS][6] = {
    [A_FILE] = {{4, A_MESSAGE}, {5, AN_ENUM}, {6, A_SERVICE}, {7, A_NAME}},
    [A_MESSAGE] = {{2, A_NAME}, {3, A_MESSAGE}, {4, AN_ENUM}, {6, A_NAME}, {8, A_NAME}},
    [AN_ENUM] = {{2, A_NAME}},
    [A_SERVICE] = {{2, A_NAME}},
};

static enum kind kind_of(enum kind parent, uint32_t field) {
    for (const struct child *child = children[parent]; child->field != 0; child++)
        if (child->field == field) return child->kind;
    return KINDS;
}

/* Whether `symbol` ("Message.Nested.field") is declared in a descriptor of this kind. Each level takes one name off. */
static bool declares(enum kind kind, struct text descriptor, struct text symbol) {
    const uint8_t *dot = memchr(symbol.bytes, '.', symbol.size);
    struct text head = {symbol.bytes, dot != NULL ? (size_t)(dot - symbol.bytes) : symbol.size}, rest = {NULL, 0};
    if (dot != NULL) rest = (struct text){dot + 1, symbol.size - head.size - 1};
    struct weir_wire wire = weir_wire_of(descriptor.bytes, descriptor.size);
    struct weir_wire_field field;
    while (weir_wire_next(&wire, &field)) {
        if (field.type != WEIR_WIRE_BYTES) continue;
        enum kind child = kind_of(kind, field.number);
        struct text inner = {field.bytes, (size_t)field.value};
        if (child == KINDS) continue;
        /* Values of an enum are named beside it, not inside (descriptor.proto, EnumValueDescriptorProto). */
        if (same(field_of(inner, 1), head))
            return dot == NULL || (child != AN_ENUM && rest.size > 0 && declares(child, inner, rest));
        if (child == AN_ENUM && dot == NULL && declares(AN_ENUM, inner, head)) return true;
    }
    return false;
}

static bool file_declares(struct text file, struct text symbol) {
    struct text package = field_of(file, 2);
    if (package.size > 0) {
        if (symbol.size < package.size + 2 || memcmp(symbol.bytes, package.bytes, package.size) != 0 ||
            symbol.bytes[package.size] != '.')
            return false;
        symbol = (struct text){symbol.bytes + package.size + 1, symbol.size - package.size - 1};
    }
    return symbol.size > 0 && declares(A_FILE, file, symbol);
}

/* ---- files ---- */

struct files {
    struct text file[FILES_MAX];
    size_t count;
};

static void read_files(struct files *files) {
    struct weir_wire wire = weir_wire_of(weir_descriptors, weir_descriptors_size);
    struct weir_wire_field field;
    files->count = 0;
    while (files->count < FILES_MAX && weir_wire_next(&wire, &field))
        if (field.number == 1) files->file[files->count++] = (struct text){field.bytes, (size_t)field.value};
}

static size_t file_of_name(const struct files *files, struct text name) {
    for (size_t i = 0; i < files->count; i++)
        if (same(field_of(files->file[i], 1), name)) return i;
    return FILES_MAX;
}

static size_t file_of_symbol(const struct files *files, struct text symbol) {
    for (size_t i = 0; i < files->count; i++)
        if (file_declares(files->file[i], symbol)) return i;
    return FILES_MAX;
}

/* The file and all that it imports, as bits. What a file imports stands before it, so that one walk back is enough. */
static uint64_t with_imports(const struct files *files, size_t which) {
    uint64_t wanted = UINT64_C(1) << which;
    for (size_t i = which + 1; i-- > 0;) {
        if ((wanted >> i & 1) == 0) continue;
        struct weir_wire wire = weir_wire_of(files->file[i].bytes, files->file[i].size);
        struct weir_wire_field field;
        while (weir_wire_next(&wire, &field)) {
            if (field.number != 3 || field.type != WEIR_WIRE_BYTES) continue; /* dependency */
            size_t import = file_of_name(files, (struct text){field.bytes, (size_t)field.value});
            if (import < FILES_MAX) wanted |= UINT64_C(1) << import;
        }
    }
    return wanted;
}

/* ---- answers ---- */

static void put_field(struct weir_buffer *out, uint32_t number, const void *bytes, size_t size) {
    uint8_t key[20];
    uint8_t *at = weir_wire_put_key(key, number, WEIR_WIRE_BYTES);
    at = weir_wire_put_varint(at, size);
    weir_buffer_put(out, key, (size_t)(at - key));
    weir_buffer_put(out, bytes, size);
}

/* FileDescriptorResponse{1 file_descriptor_proto}: the file that was asked for first. */
static void put_file(struct weir_buffer *out, const struct files *files, size_t which) {
    uint64_t wanted = with_imports(files, which);
    for (size_t i = which + 1; i-- > 0;)
        if ((wanted >> i & 1) != 0) put_field(out, 1, files->file[i].bytes, files->file[i].size);
}

/* ListServiceResponse{1 service: ServiceResponse{1 name}} */
static void put_services(struct weir_buffer *out, const char *const *services) {
    struct weir_buffer service = {0};
    for (; *services != NULL; services++) {
        weir_buffer_clear(&service);
        put_field(&service, 1, *services, strlen(*services));
        put_field(out, 1, service.bytes, service.size);
        if (service.failed) out->failed = true;
    }
    weir_buffer_free(&service);
}

/* ErrorResponse{1 error_code, 2 error_message} */
static void put_error(struct weir_buffer *out, enum weir_grpc_code code, const char *what, struct text name) {
    char text[200];
    int n = snprintf(text, sizeof text, "no %s %.*s", what, (int)(name.size < 150 ? name.size : 150),
                     name.size > 0 ? (const char *)name.bytes : "");
    uint8_t number[12];
    weir_buffer_put(out, number, (size_t)(weir_wire_put_uint(number, 1, (uint64_t)code) - number));
    put_field(out, 2, text, (size_t)n);
}

/* The fields of ServerReflectionRequest and, of the answer, of ServerReflectionResponse. */
enum asked { HOST = 1, BY_FILENAME = 3, BY_SYMBOL = 4, BY_EXTENSION = 5, EXTENSION_NUMBERS = 6, LIST_SERVICES = 7 };
enum answered { VALID_HOST = 1, ORIGINAL = 2, FILES = 4, NUMBERS = 5, SERVICES = 6, ERROR = 7 };

static enum answered look_up(const char *const *services, uint32_t asked, struct text name, struct weir_buffer *inner) {
    struct files files;
    read_files(&files);
    size_t which = FILES_MAX;
    const char *what = "symbol";
    switch (asked) {
    case LIST_SERVICES: put_services(inner, services); return SERVICES;
    case BY_FILENAME:
        which = file_of_name(&files, name);
        what = "file";
        break;
    case BY_SYMBOL: which = file_of_symbol(&files, name); break;
    case BY_EXTENSION: /* ExtensionRequest{1 containing_type, 2 extension_number}: proto3 has none */
        name = field_of(name, 1);
        what = "extension of";
        break;
    case EXTENSION_NUMBERS: /* ExtensionNumberResponse{1 base_type_name, 2 extension_number} */
        if (file_of_symbol(&files, name) == FILES_MAX) break;
        put_field(inner, 1, name.bytes, name.size);
        return NUMBERS;
    default: put_error(inner, WEIR_GRPC_INVALID_ARGUMENT, "message_request", name); return ERROR;
    }
    if (which == FILES_MAX) {
        put_error(inner, WEIR_GRPC_NOT_FOUND, what, name);
        return ERROR;
    }
    put_file(inner, &files, which);
    return FILES;
}

bool weir_reflection_answer(const char *const *services, const uint8_t *request, size_t size, struct weir_buffer *out) {
    struct weir_wire wire = weir_wire_of(request, size);
    struct weir_wire_field field;
    struct text name = {NULL, 0}, host = {NULL, 0};
    uint32_t asked = 0;
    while (weir_wire_next(&wire, &field)) {
        if (field.type != WEIR_WIRE_BYTES) continue;
        struct text value = {field.bytes, (size_t)field.value};
        if (field.number == HOST) host = value;
        if (field.number < BY_FILENAME || field.number > LIST_SERVICES) continue;
        asked = field.number; /* a oneof: the last one counts */
        name = value;
    }
    if (wire.why != NULL) return false;
    struct weir_buffer inner = {0};
    enum answered answered = look_up(services, asked, name, &inner);
    if (host.size > 0) put_field(out, VALID_HOST, host.bytes, host.size);
    put_field(out, ORIGINAL, request, size);
    put_field(out, answered, inner.bytes, inner.size);
    if (inner.failed) out->failed = true;
    weir_buffer_free(&inner);
    return true;
}

void weir_reflection_asked(const char *const *services, struct weir_grpc_call *call, const struct weir_batch *request) {
    struct weir_buffer answer = {0};
    if (request->size > REQUEST_BYTES_MAX ||
        !weir_reflection_answer(services, request->bytes, request->size, &answer)) {
        weir_grpc_refuse(call, WEIR_GRPC_INVALID_ARGUMENT, "not a ServerReflectionRequest", 0);
    } else if (answer.failed) {
        weir_grpc_refuse(call, WEIR_GRPC_RESOURCE_EXHAUSTED, "no memory for the answer", 1000);
    } else {
        weir_grpc_gzip(call, true);
        weir_grpc_send(call, answer.bytes, answer.size);
    }
    weir_buffer_free(&answer);
}
