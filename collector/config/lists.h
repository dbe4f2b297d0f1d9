/* lists.h - the sections that are lists of maps: attributes, operations, success, exclude, render. */
#ifndef WEIR_CONFIG_LISTS_H
#define WEIR_CONFIG_LISTS_H
#include "collector/config/config.h"
#include "collector/config/yaml.h"

extern const char *const weir_action_names[WEIR_ACTIONS + 1]; /* ends with NULL */
extern const char *const weir_grpc_code_names[];              /* 0 to 16, then NULL */
extern const char *const weir_render_names[WEIR_RENDER_KINDS + 1];
extern const char *const weir_list_sections[]; /* ends with NULL */

/* Reads one of the sections. `folder` is that of the file, for paths. */
enum weir_status weir_list_read(const struct weir_yaml_doc *doc, const struct weir_yaml *node, const char *folder,
                                struct weir_config *config, struct weir_error *err);
bool weir_list_is(const char *section);
#endif
