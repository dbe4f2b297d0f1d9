/* cat.h - `weir cat PATH...`: trace files, or folders of them, as JSON lines on stdout (otlp_json.h). */
#ifndef WEIR_EXPORTERS_FILE_CAT_H
#define WEIR_EXPORTERS_FILE_CAT_H

/* argv[0] is "cat". The exit status: 0; 1 when something was broken or could not be read (told on stderr with file and
 * offset); 2 for wrong usage. A reader of stdout that goes away is no error. */
int weir_cat_main(int argc, char **argv);
#endif
