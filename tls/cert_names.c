#include "tls/cert_names.h"

#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/x509v3.h>

#include "base/hostname.h"

#define DNS_NAME_MAX (HOSTNAME_MAX + 1u) /* with a trailing dot; a longer one matches no host */

static bool
dns_name_is_usable(struct span name)
{
    if (name.len == 0 || name.len > DNS_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (name.ptr[i] <= ' ' || name.ptr[i] > '~') /* a NUL hides what follows it */
            return false;
    return true;
}

/* An extension that is broken or there twice has no names. out_any: there are dNSNames, usable or
 * not. */
static enum result
take_dns_names(const X509 *cert, struct name_list *out, bool *out_any)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    enum result res = RES_OK;

    *out_any = false;
    for (size_t i = 0; names && i < sk_GENERAL_NAME_num(names) && res == RES_OK; i++) {
        const GENERAL_NAME *general = sk_GENERAL_NAME_value(names, i);
        struct span name;

        if (general->type != GEN_DNS)
            continue;
        *out_any = true;
        name = span_make(ASN1_STRING_get0_data(general->d.dNSName),
                         (size_t)ASN1_STRING_length(general->d.dNSName));
        if (dns_name_is_usable(name))
            res = name_list_add(out, name);
    }
    GENERAL_NAMES_free(names);
    return res;
}

enum result
cert_dns_names(const X509 *cert, struct name_list *out)
{
    bool ignored;

    return take_dns_names(cert, out, &ignored);
}

/* The last one: subjects are written from the general to the special. */
static const ASN1_STRING *
common_name(const X509 *cert)
{
    X509_NAME *subject = X509_get_subject_name(cert);
    const ASN1_STRING *last = NULL;

    for (int i = -1; (i = X509_NAME_get_index_by_NID(subject, NID_commonName, i)) >= 0;)
        last = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, i));
    return last;
}

enum result
cert_dane_names(const X509 *cert, struct name_list *out)
{
    const ASN1_STRING *cn;
    uint8_t *text = NULL;
    enum result res;
    bool any;
    int len;

    res = take_dns_names(cert, out, &any);
    if (any || res != RES_OK)
        return res;
    cn = common_name(cert);
    len = cn ? ASN1_STRING_to_UTF8(&text, cn) : -1;
    if (len > 0 && dns_name_is_usable(span_make(text, (size_t)len)))
        res = name_list_add(out, span_make(text, (size_t)len));
    OPENSSL_free(text);
    return res;
}
