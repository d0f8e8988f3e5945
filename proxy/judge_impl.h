/* proxy/judge_impl.h: what the files of the judgement share; private to proxy/judge*.c. Each party
 * says what it demands, in enforcing form; judge.c says what follows when there are several.
 *
 *   judge.c          precedence, and what does not apply in enforcing form
 *   judge_dane.c     RFC 7672
 *   judge_sts.c      RFC 8461
 *   judge_local.c    overrides, TLS for everybody, and nobody demanding anything
 *   judge_requiretls.c   RFC 8689
 *   judge_common.c   what all of them ask of requirement and observation */
#ifndef STSGATE_PROXY_JUDGE_IMPL_H
#define STSGATE_PROXY_JUDGE_IMPL_H

#include "proxy/judge.h"

/* judge_dane.c: does DANE have a say here? And what it says (RFC 7672 2.2, 3). */
bool judge_has_dane(const struct requirement *req);
struct verdict judge_dane(const struct requirement *req, const struct observation *obs);

/* judge_sts.c: the policy taken at its word, as in mode enforce (RFC 8461 4, appendix B). */
struct verdict judge_sts(const struct requirement *req, const struct observation *obs);

/* judge_local.c: what an override demands (PRX-042): a floor where there is TLS, TLS, or TLS and a
 * proven name. */
struct verdict judge_local(const struct requirement *req, const struct observation *obs);

/* The same: TLS, whoever answers (RFC 3207 6). rule: static. */
struct verdict judge_tls(const struct requirement *req, const struct observation *obs,
                         const char *rule);

/* judge_requiretls.c: what the sender demands (RFC 8689 4.2.1). */
struct verdict judge_requiretls(const struct requirement *req, const struct demand *demand,
                                const struct observation *obs, int64_t now_s);

/* judge_local.c: a domain without a policy gets TLS if it can be had, with no demand on the
 * certificate (PRX-050, RFC 7435). Its rule, where there is TLS or no failure, is judge_no_demand
 * itself. */
struct verdict judge_opportunistic(const struct requirement *req, const struct observation *obs);
extern const char judge_no_demand[];

/* judge_common.c */
struct verdict judge_allow(const char *rule, const char *mx, bool proven);
struct verdict judge_next_step(enum verdict_action action, const struct requirement *req,
                               const char *rule);
struct verdict judge_refuse(const struct requirement *req, enum reply_row reply,
                            enum result_type result, const char *reason, const char *rule);
/* For what the chain was worth against the roots. */
struct verdict judge_refuse_chain(const struct requirement *req, const struct observation *obs,
                                  enum reply_row reply, const char *rule);
/* Another connection is wanted; 452 while the transaction holds this one (PRX-031, PRX-033). */
struct verdict judge_reconnect(const struct requirement *req, const struct observation *obs,
                               const char *rule);

/* The MX name to name when none was proven: the best candidate, or "". */
const char *judge_blamed(const struct requirement *req);
bool judge_is_listed(const struct name_list *patterns, const char *name);
bool judge_any_candidate_listed(const struct requirement *req, const struct name_list *patterns);
/* The first candidate that is listed and that the certificate names; NULL: none. */
const char *judge_named_candidate(const struct requirement *req, const struct observation *obs,
                                  const struct name_list *patterns);
/* Was the handshake made for another name, or held against other roots, than this one wants? */
bool judge_other_identity(const struct requirement *req, const struct observation *obs);
/* Did an earlier TLS session have a part in these facts? No refusal rests on that (TLS-026). */
bool judge_rests_on_ticket(const struct observation *obs);
/* A failed handshake: might another one do better for this recipient? One that was made: might
 * another one show another certificate? */
bool judge_may_do_better(const struct requirement *req, const struct observation *obs);
bool judge_may_show_another(const struct requirement *req, const struct observation *obs);
/* In clear after a handshake that failed in this transaction, as another one would (TLS-031)? */
bool judge_would_fail_again(const struct requirement *req, const struct observation *obs);

#endif
