/* proxy/config_value.h: one value of the configuration, from its text into its field.
 * Context: any process. Pure. For config.c only. */
#ifndef STSGATE_PROXY_CONFIG_VALUE_H
#define STSGATE_PROXY_CONFIG_VALUE_H

#include "proxy/config.h"

/** Is the field a list; a char * of its own? */
bool config_type_is_list(enum config_type type);
bool config_type_is_text(enum config_type type);

/** Is text an absolute path without control characters? */
bool config_is_path(const char *text);

/** "true" and "false"; false: something else. */
bool config_bool(const char *text, bool *out);

/** "1.0" ... "1.3" as TLS_VERSION_...; false: something else. */
bool config_tls_version(const char *text, uint16_t *out);

/** Set the field of key, or add to its list, what text says. Text is copied.
 * error: on anything but RES_OK what is wrong, without file and line, NUL-terminated.
 * RES_SYNTAX: not a value of this type or out of range; RES_LIMIT: the list is full; RES_NOMEM. */
MUST_CHECK enum result config_value_set(const struct config_key *key, const char *text,
                                        struct config *config, char *error, size_t error_size);

#endif
