#include "collector/attributes/aliases.h"

#define ROW(key, role, rank)                                                                                           \
    { key, sizeof(key) - 1, WEIR_ROLE_##role, WEIR_PEER_##rank }
const struct weir_alias weir_aliases[] = {
    ROW("error", ERROR, NONE),
    ROW("db.system", PEER, SYSTEM),
    ROW("net.peer.ip", PEER, ADDRESS),
    ROW("l5d.success", SUCCESS, NONE),
    ROW("peer.service", PEER, SERVICE),
    ROW("peer.address", PEER, ADDRESS),
    ROW("zipkin.debug", DEBUG, NONE),
    ROW("sampler.type", SAMPLER_TYPE, NONE),
    ROW("net.peer.name", PEER, HOST),
    ROW("peer.hostname", PEER, HOST),
    ROW("zipkin.shared", SHARED, NONE),
    ROW("sampler.param", SAMPLER_PARAM, NONE),
    ROW("h2.rsp.status", HTTP_STATUS, NONE),
    ROW("server.address", PEER, HOST),
    ROW("db.system.name", PEER, SYSTEM),
    ROW("http.rsp.status", HTTP_STATUS, NONE),
    ROW("http.status_code", HTTP_STATUS, NONE),
    ROW("upstream_cluster", PEER, CLUSTER),
    ROW("messaging.system", PEER, SYSTEM),
    ROW("grpc.status_code", GRPC_STATUS, NONE),
    ROW("guid:x-request-id", REQUEST_ID, NONE),
    ROW("sampling.priority", PRIORITY, NONE),
    ROW("weir.prior_weight", PRIOR, NONE),
    ROW("net.sock.peer.addr", PEER, ADDRESS),
    ROW("net.sock.peer.name", PEER, HOST),
    ROW("jaeger.sampler.type", SAMPLER_TYPE, NONE),
    ROW("network.peer.address", PEER, ADDRESS),
    ROW("rpc.grpc.status_code", GRPC_STATUS, NONE),
    ROW("zipkin.sampling_rate", SAMPLING_RATE, NONE),
    ROW("jaeger.sampler.param", SAMPLER_PARAM, NONE),
    ROW("upstream_cluster.name", PEER, CLUSTER),
    ROW("http.response.status_code", HTTP_STATUS, NONE),
    {NULL, 0, WEIR_ROLE_NONE, WEIR_PEER_NONE},
};

const uint8_t weir_alias_first[WEIR_ALIAS_SIZE_MAX + 1] = {
    [5] = 0,   [9] = 1,   [11] = 2,  [12] = 4,  [13] = 8,  [14] = 13, [15] = 15,
    [16] = 16, [17] = 20, [18] = 23, [19] = 25, [20] = 26, [21] = 30, [25] = 31,
};
