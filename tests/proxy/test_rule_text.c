/* tests/proxy/test_rule_text.c: each rule that decides can be looked up, here and in docs/rules.md.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/rule_text.h"

#include <glob.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>

static const struct row {
    const char *name, *rule, *begins;
} rows[] = {
    { "an id with its section", "STS-087 RFC 8461 4.2", "the certificate must name" },
    { "an id alone", "PRX-050", "nothing is demanded" },
    { "the first of two", "PRX-042 TLS-030", "an override" },
};

static const char *const unknown[] = { "",       "-",        " ",       "STS",
                                       "STS-08", "STS-0877", "sts-087", "XYZ-001" };

static void
test_sentence(void **state)
{
    const struct row *row = *state;

    assert_int_equal(strncmp(rule_sentence(row->rule), row->begins, strlen(row->begins)), 0);
}

static void
test_unknown(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        assert_string_equal(rule_sentence(unknown[i]), "");
}

/* Every rule that a line of the judgement names; how many those are. */
static unsigned
check_source(const char *path, const regex_t *pattern)
{
    FILE *file = fopen(path, "re");
    unsigned found = 0;
    char line[512];
    regmatch_t m;

    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        for (char *at = line; regexec(pattern, at, 1, &m, 0) == 0; at += m.rm_eo) {
            at[m.rm_eo - 1] = '\0';
            if (!*rule_sentence(at + m.rm_so + 1))
                fail_msg("%s: no sentence for %s", path, at + m.rm_so + 1);
            found++;
        }
    fclose(file);
    return found;
}

static void
test_all_are_known(void **state)
{
    unsigned found = 0;
    regex_t pattern;
    glob_t files;

    (void)state;
    assert_int_equal(regcomp(&pattern, "\"[A-Z]+-[0-9]{3}[ A-Z0-9.-]*\"", REG_EXTENDED), 0);
    assert_int_equal(glob(TESTS_DIR "/../proxy/judge*.c", 0, NULL, &files), 0);
    for (size_t i = 0; i < files.gl_pathc; i++)
        found += check_source(files.gl_pathv[i], &pattern);
    globfree(&files);
    regfree(&pattern);
    assert_true(found > 50);
}

static void
test_manual(void **state)
{
    char manual[16384] = "", want[512];
    FILE *file = fopen(TESTS_DIR "/../docs/rules.md", "re");
    const struct rule_text *texts;
    unsigned listed = 0;
    size_t count;

    (void)state;
    assert_non_null(file);
    assert_in_range(fread(manual, 1, sizeof manual - 1, file), 1, sizeof manual - 2);
    fclose(file);
    texts = rule_texts(&count);
    for (size_t i = 0; i < count; i++) {
        snprintf(want, sizeof want, "\n| `%s` | %s | %s |\n", texts[i].id, texts[i].standard,
                 texts[i].sentence);
        if (!strstr(manual, want))
            fail_msg("not in docs/rules.md: %s", want);
    }
    for (const char *at = manual; (at = strstr(at, "\n| `")); at++)
        listed++;
    assert_int_equal(listed, count);
}

int
main(void)
{
    struct CMUnitTest tests[8];
    size_t n = 0;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        tests[n++] = (struct CMUnitTest){ rows[i].name, test_sentence, NULL, NULL,
                                          (void *)(uintptr_t)&rows[i] };
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_unknown);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_all_are_known);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_manual);
    return _cmocka_run_group_tests("rule_text", tests, n, NULL, NULL);
}
