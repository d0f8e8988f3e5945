#include "base/hash_key.h"

#include <string.h>
#include <sys/random.h>

/* Drawn once, before anything else runs: like the log's level, process-wide by nature. */
static uint64_t secret[2];

void
hash_key_init(void)
{
    (void)!getrandom(secret, sizeof secret, 0); /* 16 bytes never block once the kernel is up */
}

static inline uint64_t
rotl(uint64_t x, unsigned b)
{
    return x << b | x >> (64 - b);
}

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline void
sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v1 = rotl(s->v1, 13) ^ s->v0;
    s->v0 = rotl(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotl(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotl(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotl(s->v1, 17) ^ s->v2;
    s->v2 = rotl(s->v2, 32);
}

static inline void
sip_word(struct sip *s, uint64_t word)
{
    s->v3 ^= word;
    sip_round(s);
    s->v0 ^= word;
}

/* Aumasson and Bernstein, "SipHash: a fast short-input PRF", with 1 and 3 rounds. */
uint64_t
hash_bytes(const void *bytes, size_t len)
{
    struct sip s = { secret[0] ^ 0x736f6d6570736575u, secret[1] ^ 0x646f72616e646f6du,
                     secret[0] ^ 0x6c7967656e657261u, secret[1] ^ 0x7465646279746573u };
    const unsigned char *at = bytes;
    uint64_t word = (uint64_t)len << 56;

    for (; len >= 8; len -= 8, at += 8) {
        uint64_t whole;

        memcpy(&whole, at, 8);
        sip_word(&s, whole);
    }
    for (size_t i = 0; i < len; i++)
        word |= (uint64_t)at[i] << 8 * i;
    sip_word(&s, word);
    s.v2 ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
