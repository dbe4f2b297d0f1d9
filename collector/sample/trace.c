#include "collector/sample/trace.h"

const char *const weir_cause_names[WEIR_CAUSES] = {
    [WEIR_CAUSE_ROOT] = "root",     [WEIR_CAUSE_WAIT] = "wait",   [WEIR_CAUSE_SIZE] = "size",
    [WEIR_CAUSE_MEMORY] = "memory", [WEIR_CAUSE_DRAIN] = "drain",
};
