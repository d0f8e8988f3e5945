/* proxy/config_section.h: the sections of the configuration: overrides, smart hosts and clients,
 * from their texts into struct config (PRX-024, PRX-039, PRX-042). Context: any process. Pure. For
 * config.c only. */
#ifndef STSGATE_PROXY_CONFIG_SECTION_H
#define STSGATE_PROXY_CONFIG_SECTION_H

#include "proxy/config.h"

/** The keys of a kind of section, in the order of the manual. Static storage. */
const struct config_section_key *config_section_keys(enum config_section section,
                                                     size_t *out_count);

/** "override", "smart_host", "client". Static storage. */
const char *config_section_name(enum config_section section);

/** Begin a section: one more entry, with its title. error and results as config_value_set(). */
MUST_CHECK enum result config_section_begin(enum config_section section, const char *title,
                                            struct config *config, char *error, size_t error_size);

/** One value for the entry that was begun last, which it is set in or added to. */
MUST_CHECK enum result config_section_set(enum config_section section,
                                          const struct config_section_key *key, const char *text,
                                          struct config *config, char *error, size_t error_size);

/** Is the entry that was begun last whole, and does all of it fit together? */
MUST_CHECK enum result config_section_end(enum config_section section, struct config *config,
                                          char *error, size_t error_size);

/** How many there are of a kind. */
size_t config_section_count(enum config_section section, const struct config *config);

#endif
