/* tests/policy/test_store.c: the store of policies and its keeper, with real SQLite files: what
 * survives a restart, a kill, damage, and a disk that is full (STS-061, TC-CACHE-15 ... 17, 23). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "policy/store_sqlite.h"
#include "policy/sts_keeper.h"

#define NOW_S 1700000000

static char folder[] = "/tmp/stsgate-store-XXXXXX";
static char path[128];
static struct policy_stats stats;
static int64_t wall_now_s = NOW_S, mono_now_ms = 1000;
static unsigned jumps;

static int64_t
wall_ns(void *arg)
{
    (void)arg;
    return wall_now_s * 1000000000;
}

static int64_t
mono_ns(void *arg)
{
    (void)arg;
    return mono_now_ms * 1000000;
}

static void
on_jump(void *arg)
{
    ++*(unsigned *)arg;
}

/* One process's memory: keeper and cache. */
struct memory {
    struct sts_keeper *keeper;
    struct sts_cache *cache;
};

static struct memory
begin(void)
{
    struct memory m;

    stats = (struct policy_stats){ 0 };
    m.keeper = sts_keeper_new(
        &(struct sts_keeper_config){ .path = path,
                                     .stats = &stats,
                                     .clock = { .wall_ns = wall_ns, .mono_ns = mono_ns },
                                     .unused_max_s = 2592000,
                                     .on_jump = on_jump,
                                     .arg = &jumps });
    assert_non_null(m.keeper);
    m.cache = sts_cache_new(&(struct sts_cache_config){ .entries_max = 100000,
                                                        .max_age_cap_s = 31557600,
                                                        .stats = &stats,
                                                        .changed = sts_keeper_changed,
                                                        .arg = m.keeper });
    assert_non_null(m.cache);
    sts_keeper_load(m.keeper, m.cache);
    return m;
}

/* The process ends; with a last write, or without. */
static void
end(struct memory m, bool politely)
{
    if (politely)
        sts_keeper_stop(m.keeper);
    sts_cache_free(m.cache);
    sts_keeper_free(m.keeper);
}

static void
put(struct memory m, const char *domain, const char *id, const char *mode)
{
    struct sts_policy *policy;
    char text[200];

    snprintf(text, sizeof text, "version: STSv1\nmode: %s\nmx: mx.%s\nmax_age: 604800\n", mode,
             domain);
    assert_int_equal(sts_policy_parse(span_of(text), &policy, NULL), RES_OK);
    assert_int_equal(sts_cache_put(m.cache, domain, id, span_of(text), policy, wall_now_s), RES_OK);
    sts_policy_free(policy);
}

static void
remove_files(void)
{
    static const char *const parts[] = { "", "-wal", "-shm", ".bad", ".bad-wal", ".bad-shm" };
    char name[160];

    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        snprintf(name, sizeof name, "%s%s", path, parts[i]);
        (void)unlink(name);
    }
}

static int
set_up(void **state)
{
    (void)state;
    remove_files();
    wall_now_s = NOW_S;
    jumps = 0;
    return 0;
}

static bool
exists(const char *suffix)
{
    char name[160];

    snprintf(name, sizeof name, "%s%s", path, suffix);
    return access(name, F_OK) == 0;
}

/* A store with n policies, as a process that ended well leaves it. */
static void
make_store(unsigned n)
{
    struct memory m = begin();

    for (unsigned i = 0; i < n; i++) {
        char domain[40];

        snprintf(domain, sizeof domain, "d%u.example", i);
        put(m, domain, "id1", "enforce");
    }
    end(m, true);
}

/* STS-061: restart; text, id, times and use are as before. */
static void
test_restart(void **state)
{
    struct memory m = begin();
    struct sts_entry entry;
    struct stat st;

    (void)state;
    put(m, "a.example", "id1", "enforce");
    put(m, "gone.example", "id1", "enforce");
    put(m, "b.example", "id1", "testing");
    sts_keeper_tick(m.keeper);
    assert_true(sts_keeper_is_safe(m.keeper));
    assert_int_equal(stats.counts[STAT_STORE_WRITTEN], 3);
    assert_true(sts_cache_drop(m.cache, "gone.example"));
    put(m, "b.example", "id2", "none");
    assert_int_equal(sts_cache_fail(m.cache, "negative.example", "id1",
                                    RESULT_STS_POLICY_FETCH_ERROR, "tls", NOW_S, 0),
                     RES_OK);
    end(m, true);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);

    wall_now_s += 3600;
    m = begin();
    assert_int_equal(sts_cache_count(m.cache), 2);
    assert_int_equal(stats.counts[STAT_STORE_LOADED], 2);
    assert_true(sts_cache_find(m.cache, "a.example", &entry));
    assert_true(sts_entry_is_valid(&entry, wall_now_s));
    assert_int_equal(entry.fetched_at_s, NOW_S);
    assert_int_equal(entry.used_at_s, NOW_S);
    assert_string_equal(entry.id, "id1");
    assert_true(span_equal(entry.text, span_of("version: STSv1\nmode: enforce\nmx: mx.a.example\n"
                                               "max_age: 604800\n")));
    assert_true(sts_cache_find(m.cache, "b.example", &entry));
    assert_int_equal(entry.mode, STS_MODE_NONE);
    end(m, true);
}

/* A tick has written it: what comes after that is all that a crash can lose. */
static void
test_crash_after_tick(void **state)
{
    struct memory m = begin();
    struct sts_entry entry;

    (void)state;
    put(m, "a.example", "id1", "enforce");
    sts_keeper_tick(m.keeper);
    put(m, "b.example", "id1", "enforce");
    end(m, false);
    m = begin();
    assert_true(sts_cache_find(m.cache, "a.example", &entry));
    assert_false(sts_cache_find(m.cache, "b.example", &entry));
    end(m, true);
}

/* TC-CACHE-15: killed at any moment, it leaves whole batches: generation n of every policy or
 * generation n - 1, never a mixture within a batch, and a file that opens. */
static void
test_kill(void **state)
{
    volatile unsigned *done =
        mmap(NULL, sizeof *done, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    (void)state;
    assert_true(done != MAP_FAILED);
    for (unsigned round = 0; round < 25; round++) {
        struct sts_entry entry;
        struct memory m;
        pid_t child;
        int status;
        char first[STS_ID_MAX + 1];

        remove_files();
        *done = 0;
        child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            m = begin();
            for (unsigned generation = 0;; generation++) {
                char id[16], domain[40];

                snprintf(id, sizeof id, "g%u", generation);
                for (unsigned i = 0; i < 40; i++) {
                    snprintf(domain, sizeof domain, "d%u.example", i);
                    put(m, domain, id, "enforce");
                }
                sts_keeper_tick(m.keeper);
                *done = generation + 1;
            }
        }
        while (*done < 3 + round) /* bounded: the child does nothing else */
            usleep(50);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));

        m = begin();
        assert_int_equal(stats.counts[STAT_STORE_LOST], 0);
        assert_int_equal(sts_cache_count(m.cache), 40);
        assert_true(sts_cache_find(m.cache, "d0.example", &entry));
        snprintf(first, sizeof first, "%s", entry.id);
        assert_true(strtoul(first + 1, NULL, 10) + 1 >= 3 + round);
        for (unsigned i = 1; i < 40; i++) {
            char domain[40];

            snprintf(domain, sizeof domain, "d%u.example", i);
            assert_true(sts_cache_find(m.cache, domain, &entry));
            assert_string_equal(entry.id, first);
        }
        end(m, false);
    }
    (void)munmap((void *)(uintptr_t)done, sizeof *done);
}

static void
overwrite(off_t at, const void *bytes, size_t len)
{
    int fd = open(path, O_WRONLY);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, len, at), (ssize_t)len);
    close(fd);
}

/* The file could not be used: it is out of the way, that was said, and a new one works. */
static void
expect_set_aside(void)
{
    struct memory m = begin();
    struct sts_entry entry;

    assert_int_equal(stats.counts[STAT_STORE_LOST], 1);
    assert_int_equal(sts_cache_count(m.cache), 0);
    assert_true(exists(".bad"));
    put(m, "new.example", "id1", "enforce");
    end(m, true);
    m = begin();
    assert_int_equal(stats.counts[STAT_STORE_LOST], 0);
    assert_true(sts_cache_find(m.cache, "new.example", &entry));
    end(m, true);
}

/* TC-CACHE-16: no SQLite at all. */
static void
test_no_database(void **state)
{
    int fd = open(path, O_CREAT | O_WRONLY, 0600);

    (void)state;
    assert_int_equal(write(fd, "policies=none\n", 14), 14);
    close(fd);
    expect_set_aside();
}

static void
run_sql(const char *sql)
{
    sqlite3 *db;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_int_equal(chmod(path, 0600), 0);
}

/* TC-CACHE-16: somebody else's database; ours of another version; ours without its table. */
static void
test_foreign(void **state)
{
    (void)state;
    run_sql("CREATE TABLE policy (x)");
    expect_set_aside();
    remove_files();
    make_store(3);
    run_sql("PRAGMA user_version=2");
    expect_set_aside();
    remove_files();
    make_store(3);
    run_sql("DROP TABLE policy");
    expect_set_aside();
}

/* TC-CACHE-16: cut at many places. What is left is refused as a whole or sound. */
static void
test_truncated(void **state)
{
    uint64_t lost = 0;
    struct stat st;
    off_t size;

    (void)state;
    make_store(400);
    assert_int_equal(stat(path, &st), 0);
    size = st.st_size;
    for (off_t at = 1; at < size; at += size / 40) {
        struct memory m;

        remove_files();
        make_store(400);
        assert_int_equal(truncate(path, at), 0);
        m = begin();
        if (stats.counts[STAT_STORE_LOST]) /* else what was cut off held nothing */
            assert_int_equal(sts_cache_count(m.cache), 0);
        else
            assert_int_equal(sts_cache_count(m.cache), 400);
        lost += stats.counts[STAT_STORE_LOST];
        put(m, "new.example", "id1", "enforce");
        sts_keeper_tick(m.keeper);
        assert_true(sts_keeper_is_safe(m.keeper));
        end(m, true);
    }
    assert_true(lost >= 38);
}

/* TC-CACHE-16: garbage over a page somewhere. Nothing that was not stored is believed. */
static void
test_damaged(void **state)
{
    struct stat st;
    char garbage[512];

    (void)state;
    memset(garbage, 0xa5, sizeof garbage);
    make_store(400);
    assert_int_equal(stat(path, &st), 0);
    for (off_t at = 0; at < st.st_size; at += st.st_size / 29) {
        struct memory m;
        struct sts_entry entry;

        remove_files();
        make_store(400);
        overwrite(at, garbage, sizeof garbage);
        m = begin();
        for (unsigned i = 0; i < 400; i++) {
            char domain[40];

            snprintf(domain, sizeof domain, "d%u.example", i);
            if (sts_cache_find(m.cache, domain, &entry))
                assert_string_equal(entry.id, "id1");
        }
        assert_true(sts_cache_count(m.cache) <= 400);
        put(m, "new.example", "id1", "enforce");
        sts_keeper_tick(m.keeper);
        assert_true(sts_keeper_is_safe(m.keeper));
        end(m, true);
    }
}

/* TC-CACHE-16: others could have written it. */
static void
test_writable_by_others(void **state)
{
    struct memory m;

    (void)state;
    make_store(3);
    assert_int_equal(chmod(path, 0666), 0);
    m = begin();
    assert_int_equal(stats.counts[STAT_STORE_LOST], 1);
    assert_int_equal(sts_cache_count(m.cache), 0);
    assert_false(sts_keeper_is_safe(m.keeper));
    assert_true(exists("")); /* it is not ours to move */
    put(m, "a.example", "id1", "enforce");
    sts_keeper_tick(m.keeper); /* mail goes on */

    assert_int_equal(chmod(path, 0600), 0); /* mended: found again by itself */
    mono_now_ms += (STS_KEEPER_RETRY_S + 1) * 1000;
    wall_now_s += STS_KEEPER_RETRY_S + 1;
    sts_keeper_tick(m.keeper);
    assert_true(sts_keeper_is_safe(m.keeper));
    end(m, true);
    m = begin();
    assert_int_equal(sts_cache_count(m.cache), 1); /* what memory had */
    end(m, true);
}

/* A store that cannot be opened for now is not emptied once it can: what it holds is loaded then,
 * and gives way only to what was fetched since. */
static void
test_opened_late(void **state)
{
    struct sts_entry entry;
    struct memory m;
    char aside[160];

    (void)state;
    make_store(3);
    snprintf(aside, sizeof aside, "%s.aside", path);
    assert_int_equal(rename(path, aside), 0);
    assert_int_equal(symlink("/nonexistent", path), 0);
    m = begin();
    assert_int_equal(stats.counts[STAT_STORE_LOST], 1);
    assert_int_equal(sts_cache_count(m.cache), 0);
    mono_now_ms += 1000;
    wall_now_s += 1;
    put(m, "d1.example", "id2", "testing");
    put(m, "new.example", "id1", "enforce");
    sts_keeper_tick(m.keeper);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rename(aside, path), 0);

    mono_now_ms += (STS_KEEPER_RETRY_S + 1) * 1000;
    wall_now_s += STS_KEEPER_RETRY_S + 1;
    sts_keeper_tick(m.keeper);
    assert_true(sts_keeper_is_safe(m.keeper));
    assert_int_equal(sts_cache_count(m.cache), 4);
    assert_true(sts_cache_find(m.cache, "d1.example", &entry));
    assert_string_equal(entry.id, "id2");
    end(m, true);
    m = begin();
    assert_int_equal(sts_cache_count(m.cache), 4);
    assert_true(sts_cache_find(m.cache, "d0.example", &entry));
    assert_string_equal(entry.id, "id1");
    assert_int_equal(entry.fetched_at_s, NOW_S);
    assert_true(sts_cache_find(m.cache, "d1.example", &entry));
    assert_string_equal(entry.id, "id2");
    end(m, true);
}

/* TC-CACHE-17: no more room for the file. Memory serves, it is said once, later it works again. */
static void
test_full(void **state)
{
    struct rlimit limit, old;
    struct memory m;
    struct sts_entry entry;
    struct stat st;

    (void)state;
    make_store(100);
    m = begin();
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    limit = (struct rlimit){ .rlim_cur = 4096, .rlim_max = old.rlim_max };
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    put(m, "new.example", "id1", "enforce");
    sts_keeper_tick(m.keeper);
    assert_int_equal(stats.counts[STAT_STORE_ERRORS], 1);
    assert_false(sts_keeper_is_safe(m.keeper));
    assert_true(sts_cache_find(m.cache, "new.example", &entry));
    sts_keeper_tick(m.keeper); /* not yet again */
    assert_int_equal(stats.counts[STAT_STORE_ERRORS], 1);

    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    mono_now_ms += (STS_KEEPER_RETRY_S + 1) * 1000;
    wall_now_s += STS_KEEPER_RETRY_S + 1;
    sts_keeper_tick(m.keeper);
    assert_true(sts_keeper_is_safe(m.keeper));
    end(m, true);
    m = begin();
    assert_int_equal(sts_cache_count(m.cache), 101);
    end(m, true);
}

/* TC-CACHE-23, and all that a file can say and a fetch cannot. */
static void
test_rows_that_lie(void **state)
{
    static const char *const rows[] = {
        "('../../etc/passwd', 'id1', %s, 1700000000, 1700000000)",
        "('UPPER.example', 'id1', %s, 1700000000, 1700000000)",
        "('dot.example.', 'id1', %s, 1700000000, 1700000000)",
        "('a b.example', 'id1', %s, 1700000000, 1700000000)",
        "('', 'id1', %s, 1700000000, 1700000000)",
        "('noid.example', '', %s, 1700000000, 1700000000)",
        "('badid.example', 'a-b', %s, 1700000000, 1700000000)",
        "('longid.example', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', %s, 1700000000, 1700000000)",
        "('notime.example', 'id1', %s, 0, 0)",
        "('badtext.example', 'id1', 'mode: enforce', 1700000000, 1700000000)",
        "('notext.example', 'id1', '', 1700000000, 1700000000)",
        "('good.example', 'id1', %s, 1700000000, 1700000000)",
        "('future.example', 'id1', %s, 4000000000, 4000000000)",
    };
    struct memory m;
    struct sts_entry entry;

    (void)state;
    make_store(0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char values[400], sql[500];

        snprintf(values, sizeof values, rows[i],
                 "'version: STSv1' || char(10) || 'mode: enforce' || char(10) || 'mx: mx.example'"
                 " || char(10) || 'max_age: 604800'");
        snprintf(sql, sizeof sql, "INSERT INTO policy VALUES %s", values);
        run_sql(sql);
    }
    m = begin();
    assert_int_equal(stats.counts[STAT_STORE_DROPPED], 11);
    assert_int_equal(sts_cache_count(m.cache), 2);
    assert_true(sts_cache_find(m.cache, "good.example", &entry));
    assert_true(sts_cache_find(m.cache, "future.example", &entry)); /* STS-072: it was now */
    assert_int_equal(entry.expires_at_s, wall_now_s + 604800);
    end(m, true);
}

/* A jump of the clock moves all times, and all is written anew. */
static void
test_clock_jump_is_stored(void **state)
{
    struct memory m = begin();
    struct sts_entry entry;

    (void)state;
    for (unsigned i = 0; i < 5000; i++) {
        char domain[40];

        snprintf(domain, sizeof domain, "d%u.example", i);
        put(m, domain, "id1", "enforce");
    }
    for (unsigned i = 0; i < 5; i++)
        sts_keeper_tick(m.keeper);
    assert_int_equal(jumps, 0);
    wall_now_s += 31557600;
    for (unsigned i = 0; i < 5; i++)
        sts_keeper_tick(m.keeper);
    assert_int_equal(jumps, 1); /* the workers' times are wrong as well */
    end(m, true);
    m = begin();
    assert_int_equal(sts_cache_count(m.cache), 5000);
    assert_true(sts_cache_find(m.cache, "d4321.example", &entry));
    assert_int_equal(entry.fetched_at_s, NOW_S + 31557600);
    end(m, true);
}

/* TC-CACHE-15: all is written anew in several steps, and whoever dies between two of them leaves
 * what was there before, whole. A second jump, or more news than are noted one by one, begins it
 * again. */
static void
test_crash_while_written_anew(void **state)
{
    struct memory m;

    (void)state;
    make_store(5000);
    m = begin();
    for (unsigned i = 0; i < 2; i++) {
        wall_now_s += 31557600;
        sts_keeper_tick(m.keeper); /* a part of them */
    }
    end(m, false);
    wall_now_s = NOW_S; /* that of the times which are stored */
    m = begin();
    assert_int_equal(stats.counts[STAT_STORE_LOST], 0);
    assert_int_equal(sts_cache_count(m.cache), 5000);
    wall_now_s += 31557600;
    sts_keeper_tick(m.keeper);
    wall_now_s += 31557600;
    for (unsigned i = 0; i < 5; i++)
        sts_keeper_tick(m.keeper);
    assert_true(sts_keeper_is_safe(m.keeper));
    assert_int_equal(stats.counts[STAT_STORE_ERRORS], 0);
    end(m, false); /* nothing is left to be written */
    m = begin();
    assert_int_equal(sts_cache_count(m.cache), 5000);
    end(m, true);
}

/* Without a store a jump is told all the same, and whoever notices it first. */
static void
test_jump_without_store(void **state)
{
    struct memory m;

    (void)state;
    path[0] = '\0';
    m = begin();
    wall_now_s -= 31557600;
    assert_int_equal(sts_cache_tell_time(m.cache, wall_now_s, mono_now_ms), -31557600);
    sts_keeper_tick(m.keeper);
    assert_int_equal(jumps, 1);
    end(m, true);
    snprintf(path, sizeof path, "%s/policies.sqlite", folder);
}

/* No path: no store, and nothing is said. */
static void
test_none(void **state)
{
    struct memory m;

    (void)state;
    path[0] = '\0';
    m = begin();
    put(m, "a.example", "id1", "enforce");
    sts_keeper_tick(m.keeper);
    assert_int_equal(stats.counts[STAT_STORE_LOST], 0);
    end(m, true);
    snprintf(path, sizeof path, "%s/policies.sqlite", folder);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_restart, set_up),
        cmocka_unit_test_setup(test_crash_after_tick, set_up),
        cmocka_unit_test_setup(test_kill, set_up),
        cmocka_unit_test_setup(test_no_database, set_up),
        cmocka_unit_test_setup(test_foreign, set_up),
        cmocka_unit_test_setup(test_truncated, set_up),
        cmocka_unit_test_setup(test_damaged, set_up),
        cmocka_unit_test_setup(test_writable_by_others, set_up),
        cmocka_unit_test_setup(test_opened_late, set_up),
        cmocka_unit_test_setup(test_full, set_up),
        cmocka_unit_test_setup(test_rows_that_lie, set_up),
        cmocka_unit_test_setup(test_clock_jump_is_stored, set_up),
        cmocka_unit_test_setup(test_crash_while_written_anew, set_up),
        cmocka_unit_test_setup(test_jump_without_store, set_up),
        cmocka_unit_test_setup(test_none, set_up),
    };
    int failed;

    if (!mkdtemp(folder))
        return 1;
    snprintf(path, sizeof path, "%s/policies.sqlite", folder);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove_files();
    (void)rmdir(folder);
    return failed;
}
