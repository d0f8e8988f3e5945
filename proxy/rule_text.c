#include "proxy/rule_text.h"

#include <string.h>

static const struct rule_text texts[] = {
    { "DANE-004", "RFC 7672 2.1.2",
      "whether the MX host has TLSA records cannot be looked up now, and nobody knows whether its "
      "zone is signed" },
    { "DANE-006", "RFC 7672 2.1.2",
      "the look-up of TLSA records fails in a signed zone: no mail until it succeeds" },
    { "DANE-022", "RFC 7672 2.2",
      "a host with usable TLSA records gets mail only under TLS, and only if one of them matches" },
    { "DANE-023", "RFC 7672 2.2",
      "where none of the TLSA records is usable, TLS is a must, and nobody is authenticated" },
    { "DANE-025", "RFC 7672 2.2", "a host with TLSA records gets no mail in clear" },
    { "DANE-027", "RFC 7672 3.1.1",
      "DANE-EE: the MX host's own certificate or key is the one in a TLSA record" },
    { "DANE-028", "RFC 7672 3.1.2, 3.2.2",
      "DANE-TA: the certificate leads to the issuer in a TLSA record, is valid now, and names the "
      "MX host" },
    { "DANE-038", "RFC 7671 3", "under DANE the site's lowest TLS version applies" },
    { "DANE-041", "RFC 7672 6", "an override demands DANE, and there are no usable TLSA records" },
    { "PRX-019", "RFC 8461 4.1",
      "no MX host of the domain has the address that was dialled, so its certificate must name one "
      "that the policy lists" },
    { "PRX-022", "RFC 7505 4.1", "the domain says by a null MX record that it takes no mail" },
    { "PRX-023", "RFC 8461 5",
      "the MX records cannot be looked up now, and the certificate does not prove the host" },
    { "PRX-029", "", "TLS is wanted, and offered: STARTTLS comes next" },
    { "PRX-030", "RFC 8461 7.1, RFC 7672 8.1",
      "the connection was made for another name: a new one is needed" },
    { "PRX-033", "",
      "the connection holds recipients that were accepted by another identity: the next "
      "transaction" },
    { "PRX-042", "", "an override of the site's configuration says so" },
    { "PRX-050", "RFC 7435 3",
      "nothing is demanded of mail to this domain: TLS if it can be had, whatever the "
      "certificate" },
    { "RPT-080", "RFC 8460 3",
      "a TLS report, of a listed client and sender, to where the domain wants its reports: it goes "
      "under TLS if that can be had, else in clear, and is not counted" },
    { "RTLS-003", "RFC 8689 4.2.1",
      "the sender demands REQUIRETLS: TLS, a secure MX name, a proven certificate, and an MX that "
      "passes the demand on" },
    { "STS-011", "RFC 8461 3.3",
      "whether the domain has a policy cannot be looked up now (sts_dns_failure = defer)" },
    { "STS-080", "RFC 8461 4.1", "the policy lists no MX host with the address that was dialled" },
    { "STS-084", "RFC 8461 4",
      "under an MTA-STS policy the MX host must offer STARTTLS and complete the handshake" },
    { "STS-085", "RFC 8461 4.2", "the certificate must lead to a trusted CA" },
    { "STS-086", "RFC 8461 4.2", "the certificate must be valid now" },
    { "STS-087", "RFC 8461 4.2", "the certificate must name an MX host that the policy lists" },
    { "STS-090", "RFC 8461 7.2", "under an MTA-STS policy TLS must be 1.2 or newer" },
    { "TLS-005", "RFC 3207 4", "the MX host offers STARTTLS, and refuses the command" },
    { "TLS-006", "RFC 3207 4", "the handshake failed, and the connection with it" },
    { "TLS-008", "RFC 3207 6", "somebody wrote into the connection in clear behind STARTTLS" },
    { "TLS-011", "RFC 3207 6", "the site demands TLS of everybody (tls = required)" },
    { "TLS-020", "", "the TLS version is below the lowest that is permitted here" },
    { "TLS-021", "",
      "the handshake failed: once more, with the versions of a domain without demands" },
    { "TLS-026", "", "no refusal rests on a resumed TLS session: a full handshake comes first" },
    { "TLS-030", "", "the client came under TLS, so its mail does not go on in clear" },
    { "TLS-031", "RFC 7435 3",
      "nothing is demanded and TLS is broken: in clear, where the site permits that" },
};

const struct rule_text *
rule_texts(size_t *out_count)
{
    *out_count = sizeof texts / sizeof *texts;
    return texts;
}

const char *
rule_sentence(const char *rule)
{
    size_t len = strcspn(rule, " ");

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (strlen(texts[i].id) == len && memcmp(texts[i].id, rule, len) == 0)
            return texts[i].sentence;
    return "";
}
