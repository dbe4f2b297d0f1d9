/* answers.h - three questions of who looks for the first time, answered in plain words: is the mesh healthy, is
 * telemetry complete, what does tracing cost? Pure. */
#ifndef WEIR_CLI_TOP_ANSWERS_H
#define WEIR_CLI_TOP_ANSWERS_H
#include "collector/cli/top/rates.h"

/* A service is failing from the first share on, strained from the second; either wants so many failed requests between
 * two polls, so that one of two is no alarm. They are for the eye: a team's own objectives are alert rules. */
#define WEIR_TOP_FAILING  0.05
#define WEIR_TOP_STRAINED 0.01
enum { WEIR_TOP_FAILED_MIN = 3 }; /* that were seen */

enum weir_top_level { WEIR_TOP_UNKNOWN, WEIR_TOP_GOOD, WEIR_TOP_WARN, WEIR_TOP_BAD };
enum weir_top_question { WEIR_TOP_MESH, WEIR_TOP_TELEMETRY, WEIR_TOP_COST, WEIR_TOP_QUESTIONS };

struct weir_top_answer {
    enum weir_top_level level;
    char word[16];
    char text[256]; /* names in it are as they came: draw it as text from the wire */
};
struct weir_top_known {
    const struct weir_top_numbers *numbers;
    const struct weir_top_rows *services;
    const struct weir_policy_view *policy; /* NULL: no policy tells proxies anything, or it is not known */
    const struct weir_names *names;
    bool ready;  /* as /-/ready says */
    bool silent; /* the last question was not answered: all this is old */
};
void weir_top_answer(const struct weir_top_known *known, struct weir_top_answer answers[WEIR_TOP_QUESTIONS]);
enum weir_top_level weir_top_level_of(const struct weir_top_row *row);
#endif
