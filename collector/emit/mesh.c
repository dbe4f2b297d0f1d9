#include "collector/emit/mesh.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FAN_OUT = 3, SHAPES_MIN = 64, SHAPES_MAX = 8192, OUTSIDE = 4 };

static const char *const service_names[] = {"edge",   "checkout", "payments", "cart",  "catalog", "search",
                                            "users",  "ledger",   "shipping", "email", "stock",   "pricing",
                                            "offers", "reviews",  "fraud",    "tax"};
static const char *const outside_names[OUTSIDE] = {"bank", "maps", "mailer", "carrier"};
static const char *const nouns[] = {"orders", "items", "cards", "refunds", "accounts", "sessions", "quotes", "parcels",
                                    "labels", "users", "plans", "tokens",  "invoices", "baskets",  "stores", "rates"};
static const char *const tails[] = {"open", "history", "list", "events", "summary", "status", "detail", "audit"};
static const char *const methods[] = {"GET", "POST", "GET", "PUT", "DELETE"};
enum { NAMES = sizeof service_names / sizeof service_names[0], NOUNS = 16, TAILS = 8, METHODS = 5 };

void weir_emit_operation_name(const struct weir_emit_operation *operation, char *out, size_t out_size) {
    snprintf(out, out_size, "%s %s", operation->method, operation->path);
}

/* Doubles an array when it is full. */
static bool grow(void **array, uint32_t count, uint32_t *room, size_t size) {
    if (count < *room) return true;
    uint32_t wanted = *room == 0 ? 64 : *room * 2;
    void *grown = realloc(*array, wanted * size);
    if (grown == NULL) return false;
    *array = grown;
    *room = wanted;
    return true;
}

/* The method and path of operation `index` of a service; what a CLIENT span calls is named alike. */
static void name_operation(struct weir_emit_operation *operation, uint32_t service, uint32_t index, bool ids) {
    static const enum weir_emit_id kinds[] = {WEIR_EMIT_PLAIN, WEIR_EMIT_NUMBER, WEIR_EMIT_PLAIN, WEIR_EMIT_UUID};
    const char *noun = nouns[(service * 3 + index) % NOUNS], *tail = tails[index % TAILS];
    operation->id = ids ? kinds[index % 4] : WEIR_EMIT_PLAIN;
    snprintf(operation->method, sizeof operation->method, "%s", methods[index % METHODS]);
    char more[16] = "";
    if (index >= TAILS) snprintf(more, sizeof more, "-v%u", (unsigned)(index / TAILS + 1) % 1000);
    snprintf(operation->path, sizeof operation->path, "/%s%s/%s%s", noun,
             operation->id == WEIR_EMIT_PLAIN ? "" : "/{id}", tail, more);
}

/* Which CLIENT operation or edge stands for (caller, called): open addressing, at most half full. A value of 0 is free.
 */
struct known {
    struct {
        uint64_t key;
        uint32_t value; /* + 1 */
    } * slots;
    uint32_t count, room;
};

static uint32_t known_slot(const struct known *known, uint64_t key) {
    uint64_t hash = key;
    uint32_t at = (uint32_t)weir_emit_splitmix(&hash) & (known->room - 1);
    while (known->slots[at].value != 0 && known->slots[at].key != key)
        at = (at + 1) & (known->room - 1);
    return at;
}

static bool known_grow(struct known *known) {
    if (known->count * 2 < known->room) return true;
    struct known grown = {.count = known->count, .room = known->room == 0 ? 256 : known->room * 2};
    grown.slots = calloc(grown.room, sizeof *grown.slots);
    if (grown.slots == NULL) return false;
    for (uint32_t i = 0; i < known->room; i++) {
        if (known->slots[i].value != 0) grown.slots[known_slot(&grown, known->slots[i].key)] = known->slots[i];
    }
    free(known->slots);
    *known = grown;
    return true;
}

static uint32_t add_operation(struct weir_emit_mesh *mesh, const struct weir_emit_operation *operation) {
    if (!grow((void **)&mesh->operations, mesh->operation_count, &mesh->operation_room, sizeof *operation))
        return WEIR_EMIT_NONE;
    mesh->operations[mesh->operation_count] = *operation;
    return mesh->operation_count++;
}

/* While shapes are drawn. */
struct drawing {
    struct weir_emit_mesh *mesh;
    struct weir_emit_random random;
    uint32_t per_service; /* operations */
    uint32_t depth;
    bool ids;
    struct known clients; /* by caller and called operation */
    struct known edges;   /* by caller and callee */
    uint32_t turn;        /* whom the edge calls next */
    uint32_t *turns;      /* a service: which of its operations is called next */
    uint32_t *servers;    /* of the shape being drawn: its SERVER nodes that may call */
    uint16_t *depths;     /* beside servers */
};

/* The SERVER operations come first in mesh->operations, in order: the root's (those of service 0), then the others'. */
static bool add_servers(struct drawing *drawing) {
    for (uint32_t s = 0; s < drawing->mesh->services; s++) {
        for (uint32_t o = 0; o < drawing->per_service; o++) {
            struct weir_emit_operation operation = {.service = s, .callee = WEIR_EMIT_NONE, .root = s == 0};
            name_operation(&operation, s, o, drawing->ids);
            if (add_operation(drawing->mesh, &operation) == WEIR_EMIT_NONE) return false;
        }
    }
    return true;
}

/* Whom `caller` calls: WEIR_EMIT_NONE when only outside services are left. The edge takes each in turn, so that all are
 * reached; the others call what stands below them in a tree of three branches, bent back to its start at the leaves. */
static uint32_t pick_callee(struct drawing *drawing, uint32_t caller) {
    uint32_t others = drawing->mesh->services - 1;
    if (others == 0 || (others == 1 && caller == 1)) return WEIR_EMIT_NONE;
    if (caller == 0) return 1 + drawing->turn++ % others;
    uint32_t callee = 1 + (caller * FAN_OUT + weir_emit_below(&drawing->random, FAN_OUT)) % others;
    return callee == caller ? 1 + caller % others : callee;
}

/* The CLIENT operation of `caller` for operation `called`; WEIR_EMIT_NONE is the outside service's. */
static uint32_t client_of(struct drawing *drawing, uint32_t caller, uint32_t called) {
    struct weir_emit_mesh *mesh = drawing->mesh;
    if (!known_grow(&drawing->clients)) return WEIR_EMIT_NONE;
    uint64_t key = (uint64_t)caller << 32 | called;
    uint32_t slot = known_slot(&drawing->clients, key);
    if (drawing->clients.slots[slot].value != 0) return drawing->clients.slots[slot].value - 1;
    struct weir_emit_operation client = {.service = caller, .callee = WEIR_EMIT_NONE, .client = true};
    if (called != WEIR_EMIT_NONE) {
        client.callee = mesh->operations[called].service;
        name_operation(&client, client.callee, called - client.callee * drawing->per_service, drawing->ids);
        snprintf(client.peer, sizeof client.peer, "%s", mesh->names[client.callee]);
    } else {
        name_operation(&client, caller % OUTSIDE, 0, false);
        snprintf(client.peer, sizeof client.peer, "%s", outside_names[caller % OUTSIDE]);
    }
    uint32_t operation = add_operation(mesh, &client);
    if (operation == WEIR_EMIT_NONE) return operation;
    drawing->clients.slots[slot].key = key;
    drawing->clients.slots[slot].value = operation + 1;
    drawing->clients.count++;
    return operation;
}

static uint32_t edge_of(struct drawing *drawing, uint32_t client, uint32_t server) {
    struct weir_emit_mesh *mesh = drawing->mesh;
    if (!known_grow(&drawing->edges)) return WEIR_EMIT_NONE;
    uint64_t key = (uint64_t)client << 32 | server;
    uint32_t slot = known_slot(&drawing->edges, key);
    if (drawing->edges.slots[slot].value != 0) return drawing->edges.slots[slot].value - 1;
    if (!grow((void **)&mesh->edges, mesh->edge_count, &mesh->edge_room, sizeof *mesh->edges)) return WEIR_EMIT_NONE;
    mesh->edges[mesh->edge_count] = (struct weir_emit_edge){.client = client, .server = server};
    drawing->edges.slots[slot].key = key;
    drawing->edges.slots[slot].value = mesh->edge_count + 1;
    drawing->edges.count++;
    return mesh->edge_count++;
}

static bool draw_shape(struct drawing *drawing, struct weir_emit_node *nodes, uint32_t root) {
    struct weir_emit_mesh *mesh = drawing->mesh;
    uint32_t count = 0, servers = 0;
    nodes[count] = (struct weir_emit_node){.operation = root, .edge = WEIR_EMIT_NONE};
    drawing->depths[servers] = 1;
    drawing->servers[servers++] = count++;
    while (count < mesh->nodes_per_shape) {
        uint32_t which = weir_emit_below(&drawing->random, servers), parent = drawing->servers[which];
        uint32_t caller = mesh->operations[nodes[parent].operation].service, callee = WEIR_EMIT_NONE;
        if (drawing->depths[which] >= drawing->depth && which != 0) continue; /* the root may always call outside */
        if (drawing->depths[which] < drawing->depth && mesh->nodes_per_shape - count >= 2)
            callee = pick_callee(drawing, caller);
        uint32_t called = WEIR_EMIT_NONE, edge = WEIR_EMIT_NONE;
        if (callee != WEIR_EMIT_NONE) {
            uint32_t index = drawing->turns[callee];
            drawing->turns[callee] = index + 1 < drawing->per_service ? index + 1 : 0;
            called = callee * drawing->per_service + index;
            if ((edge = edge_of(drawing, caller, callee)) == WEIR_EMIT_NONE) return false;
        }
        uint32_t client = client_of(drawing, caller, called);
        if (client == WEIR_EMIT_NONE) return false;
        nodes[count++] =
            (struct weir_emit_node){.operation = client, .edge = edge, .parent = (uint16_t)parent, .client = true};
        if (callee == WEIR_EMIT_NONE) continue;
        nodes[count] =
            (struct weir_emit_node){.operation = called, .edge = WEIR_EMIT_NONE, .parent = (uint16_t)(count - 1)};
        drawing->depths[servers] = (uint16_t)(drawing->depths[which] + 1);
        drawing->servers[servers++] = count++;
    }
    return true;
}

enum weir_status weir_emit_mesh_init(struct weir_emit_mesh *mesh, const struct weir_emit_options *options,
                                     struct weir_error *err) {
    memset(mesh, 0, sizeof *mesh);
    mesh->services = (uint32_t)options->services;
    mesh->nodes_per_shape = (uint32_t)options->spans_per_trace;
    /* Two turns over all operations, as far as a trace's calls go, make every one of them play. */
    uint64_t wanted =
        2 * options->services * options->operations / (1 + (options->spans_per_trace - 1) / 2) + options->operations;
    mesh->shapes = (uint32_t)(wanted < SHAPES_MIN ? SHAPES_MIN : wanted > SHAPES_MAX ? SHAPES_MAX : wanted);
    uint64_t room = (uint64_t)mesh->shapes * mesh->nodes_per_shape;
    struct drawing drawing = {.mesh = mesh,
                              .random =
                                  weir_emit_random_of(options->seed ^ 0x6d657368), /* "mesh": apart from the traces' */
                              .per_service = (uint32_t)options->operations,
                              .depth = (uint32_t)options->depth,
                              .ids = options->ids};
    mesh->names = calloc(mesh->services, sizeof *mesh->names);
    mesh->nodes = calloc(room, sizeof *mesh->nodes);
    drawing.turns = calloc(mesh->services, sizeof *drawing.turns);
    drawing.servers = calloc(mesh->nodes_per_shape, sizeof *drawing.servers);
    drawing.depths = calloc(mesh->nodes_per_shape, sizeof *drawing.depths);
    bool made = mesh->names != NULL && mesh->nodes != NULL && drawing.turns != NULL && drawing.servers != NULL &&
                drawing.depths != NULL;
    for (uint32_t s = 0; made && s < mesh->services; s++) {
        if (s < NAMES) {
            snprintf(mesh->names[s], sizeof mesh->names[s], "%s", service_names[s]);
        } else {
            snprintf(mesh->names[s], sizeof mesh->names[s], "%s-%u", service_names[1 + s % (NAMES - 1)], (unsigned)s);
        }
    }
    made = made && add_servers(&drawing);
    for (uint32_t i = 0, root = 0; made && i < mesh->shapes; i++) {
        made = draw_shape(&drawing, mesh->nodes + (size_t)i * mesh->nodes_per_shape, root);
        root = root + 1 < drawing.per_service ? root + 1 : 0;
    }
    free(drawing.clients.slots);
    free(drawing.edges.slots);
    free(drawing.turns);
    free(drawing.servers);
    free(drawing.depths);
    if (made) return WEIR_OK;
    weir_emit_mesh_free(mesh);
    return weir_fail(err, WEIR_FULL, 0, false, "no memory for a mesh of %u services", (unsigned)options->services);
}

void weir_emit_mesh_free(struct weir_emit_mesh *mesh) {
    free(mesh->names);
    free(mesh->operations);
    free(mesh->edges);
    free(mesh->nodes);
    memset(mesh, 0, sizeof *mesh);
}
