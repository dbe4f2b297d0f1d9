/* mesh.h - the mesh that is played: services, their operations, and the shapes that a trace may have.
 *
 *   a shape:  SERVER edge ── CLIENT edge ── SERVER cart ── CLIENT cart ── SERVER stock ...
 *                         └─ CLIENT edge ── (bank: an outside service, which sends no spans)
 *
 * Service 0 is the edge: every trace enters there, and it calls all; the others call up to three, always the same. The
 * nodes of a shape stand parents first, and the SERVER span of a call directly behind its CLIENT span, so that a trace
 * that is cut short is still a tree. */
#ifndef WEIR_EMIT_MESH_H
#define WEIR_EMIT_MESH_H
#include "collector/core/error.h"
#include "collector/emit/options.h"
#include "collector/emit/random.h"

#include <stdbool.h>
#include <stdint.h>

#define WEIR_EMIT_NONE UINT32_MAX

enum weir_emit_id { WEIR_EMIT_PLAIN, WEIR_EMIT_NUMBER, WEIR_EMIT_UUID }; /* what stands for {id} in a path */

/* One kind of span: who made it, and what it is called. */
struct weir_emit_operation {
    uint32_t service;
    uint32_t callee; /* CLIENT: the service it calls, or WEIR_EMIT_NONE for an outside one */
    bool client, root;
    enum weir_emit_id id;
    char peer[32]; /* CLIENT: the callee's name */
    char method[8];
    char path[48]; /* with {id} */
};

struct weir_emit_edge {
    uint32_t client, server;
};

struct weir_emit_node {
    uint32_t operation;
    uint32_t edge;   /* CLIENT of a pair: index of its edge; else WEIR_EMIT_NONE */
    uint16_t parent; /* of node 0: 0 */
    bool client;
};

struct weir_emit_mesh {
    uint32_t services, nodes_per_shape, shapes;
    char (*names)[32];                      /* of services */
    struct weir_emit_operation *operations; /* operation_count */
    uint32_t operation_count, operation_room;
    struct weir_emit_edge *edges; /* edge_count */
    uint32_t edge_count, edge_room;
    struct weir_emit_node *nodes; /* shapes x nodes_per_shape */
};

/* The same options and seed make the same mesh. WEIR_FULL: no memory. */
enum weir_status weir_emit_mesh_init(struct weir_emit_mesh *mesh, const struct weir_emit_options *options,
                                     struct weir_error *err);
void weir_emit_mesh_free(struct weir_emit_mesh *mesh);

/* "GET /orders/{id}/open": how the operation is called once its ids are templated. */
void weir_emit_operation_name(const struct weir_emit_operation *operation, char *out, size_t out_size);
#endif
