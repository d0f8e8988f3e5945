#include "policy/tlsrpt_source.h"

#include "base/hash_key.h"
#include "policy/sqlite_file.h"

#include <stdlib.h>
#include <uthash.h>

struct tlsrpt_source {
    uint64_t id;
    uint64_t number; /* the last that was taken */
    int64_t day_s;   /* of the latest report */
    bool dirty;      /* something came since the last flush */
    UT_hash_handle hh;
};

enum result
tlsrpt_sources_open(struct tlsrpt_sources *s, struct sqlite_file *file)
{
    enum result res;

    *s = (struct tlsrpt_sources){ .file = file };
    res = sqlite_file_prepare(file, "SELECT number FROM source WHERE id = ?1", &s->find);
    return res == RES_OK
               ? sqlite_file_prepare(file, "REPLACE INTO source VALUES (?1, ?2, ?3)", &s->write)
               : res;
}

/* Those that are written are found again by the file. */
static void
forget_clean(struct tlsrpt_sources *s)
{
    struct tlsrpt_source *source, *next;

    HASH_ITER(hh, s->all, source, next)
    {
        if (source->dirty)
            continue;
        HASH_DEL(s->all, source);
        free(source);
    }
}

void
tlsrpt_sources_close(struct tlsrpt_sources *s)
{
    struct tlsrpt_source *source, *next;

    HASH_ITER(hh, s->all, source, next)
    {
        HASH_DEL(s->all, source);
        free(source);
    }
    (void)sqlite3_finalize(s->find);
    (void)sqlite3_finalize(s->write);
    *s = (struct tlsrpt_sources){ .file = NULL };
}

/* What the file knows of it. */
static enum result
read_number(struct tlsrpt_sources *s, uint64_t id, uint64_t *out)
{
    enum result res;
    int rc;

    *out = 0;
    (void)sqlite3_bind_int64(s->find, 1, (int64_t)id);
    rc = sqlite3_step(s->find);
    if (rc == SQLITE_ROW)
        *out = (uint64_t)sqlite3_column_int64(s->find, 0);
    res = sqlite_file_result(s->file, rc);
    (void)sqlite3_reset(s->find);
    return res;
}

static enum result
add_source(struct tlsrpt_sources *s, uint64_t id, struct tlsrpt_source **out)
{
    struct tlsrpt_source *source;
    enum result res;

    if (HASH_COUNT(s->all) >= TLSRPT_SOURCES_MAX)
        forget_clean(s);
    source = calloc(1, sizeof *source);
    if (!source)
        return RES_NOMEM;
    source->id = id;
    res = read_number(s, id, &source->number);
    if (res == RES_OK) {
        HASH_ADD(hh, s->all, id, sizeof source->id, source);
        if (HASH_ENTERED(source)) {
            *out = source;
            return RES_OK;
        }
        res = RES_NOMEM;
    }
    free(source);
    return res;
}

enum result
tlsrpt_sources_take(struct tlsrpt_sources *s, uint64_t id, uint64_t number, int64_t day_s,
                    bool *out_new)
{
    struct tlsrpt_source *source;
    enum result res = RES_OK;

    *out_new = false;
    HASH_FIND(hh, s->all, &id, sizeof id, source);
    if (!source)
        res = add_source(s, id, &source);
    if (res != RES_OK)
        return res;
    if (!source->dirty) /* also of one that is known: its sender waits for the word */
        s->dirty++;
    source->dirty = true;
    if (day_s > source->day_s)
        source->day_s = day_s;
    *out_new = number > source->number;
    if (*out_new)
        source->number = number;
    return RES_OK;
}

enum result
tlsrpt_sources_write(struct tlsrpt_sources *s)
{
    enum result res = RES_OK;

    for (struct tlsrpt_source *source = s->all; source && res == RES_OK; source = source->hh.next) {
        if (!source->dirty)
            continue;
        (void)sqlite3_bind_int64(s->write, 1, (int64_t)source->id);
        (void)sqlite3_bind_int64(s->write, 2, (int64_t)source->number);
        (void)sqlite3_bind_int64(s->write, 3, source->day_s);
        res = sqlite_file_run(s->file, s->write);
    }
    return res;
}

void
tlsrpt_sources_written(struct tlsrpt_sources *s, tlsrpt_source_counted *counted, void *arg)
{
    for (struct tlsrpt_source *source = s->all; source; source = source->hh.next) {
        if (source->dirty && counted)
            counted(arg, source->id, source->number);
        source->dirty = false;
    }
    s->dirty = 0;
}
