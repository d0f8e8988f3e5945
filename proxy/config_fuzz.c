/* Any bytes as a configuration: an error with file and line, or a config within its ranges. */
#include <stdint.h>
#include <stdlib.h>

#include "proxy/config.h"

#define CHECK(what)                                                                                \
    do {                                                                                           \
        if (!(what))                                                                               \
            abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char error[512] = "";
    struct config *config;
    enum result res = config_parse("f", span_make(data, size), &config, error, sizeof error);

    CHECK((config != NULL) == (res == RES_OK));
    if (!config) {
        CHECK(strncmp(error, "f:", 2) == 0 && error[2] >= '1' && error[2] <= '9');
        return 0;
    }
    CHECK(config->workers >= 1 && config->workers <= 64);
    CHECK(config->listen_count >= 1 && config->listen_count <= CONFIG_LISTEN_MAX);
    CHECK(config->destination_port_count >= 1);
    CHECK(config->policy_network_count <= CONFIG_NETS_MAX);
    for (size_t i = 0; i < config->listen_count; i++)
        CHECK(config->listen[i].addr.len != 0 && config->listen[i].port != 0);
    CHECK(*config->hostname);
    CHECK(!*config->resolver_stub || !*config->resolver_forward);
    CHECK(config->connect_timeout_ms >= 1000 && config->connect_timeout_ms <= 86400000);
    config_free(config);
    return 0;
}
