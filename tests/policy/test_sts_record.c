/* tests/policy/test_sts_record.c: TXT records of RFC 8461 3.1, one test per row. */
#include "policy/sts_record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define ROWS(table) (sizeof(table) / sizeof *(table))
#define TEXTS_MAX 4u
#define ID_32 "0123456789abcdefghijABCDEFGHIJ01"
#define NAME_32 "x123456789-123456789.123456789_1"

/* texts: the records, each on a line of its own; NULL for none. */
static struct found_case {
    const char *name, *texts, *id;
} found_cases[] = {
    { "TC-TXT-01 STS-006 the RFC's example", "v=STSv1; id=20160831085700Z;", "20160831085700Z" },
    { "TC-TXT-02 STS-007 no trailing semicolon", "v=STSv1; id=20160831085700Z", "20160831085700Z" },
    { "TC-TXT-03 STS-007 blanks and tabs around semicolons", "v=STSv1; \t id=a1 \t ;\tx=y\t; ",
      "a1" },
    { "TC-TXT-03 STS-007 no blanks at all", "v=STSv1;id=a1;x=y;", "a1" },
    { "TC-TXT-05 STS-003 strings joined in the middle of a name",
      "v=STSv1; i"
      "d=abc;",
      "abc" },
    { "TC-TXT-05 STS-003 strings joined in the middle of the id",
      "v=STSv1; id=2016"
      "0831;",
      "20160831" },
    { "TC-TXT-15 STS-007 of two ids the first counts", "v=STSv1;x-y.z=1 ; id=abc;id=def", "abc" },
    { "STS-007 a later id may be no id, if it is a field", "v=STSv1; id=abc; id=d-e-f", "abc" },
    { "STS-007 a repeated version is ignored", "v=STSv1; v=STSv2; id=abc", "abc" },
    { "TC-TXT-16 STS-007 unknown fields before and after, any order",
      "v=STSv1; a=1; B_c=!#$%&'()*+,-./09:<>?@AZ[]^_`az{|}~; id=z9; d.e-f=\"\\", "z9" },
    { "TC-TXT-16 extension name of 32 characters", "v=STSv1; " NAME_32 "=1; id=a", "a" },
    { "TC-TXT-13 STS-006 id of 32 characters", "v=STSv1; id=" ID_32 ";", ID_32 },
    { "STS-006 id of one character", "v=STSv1; id=0", "0" },
    { "STS-006 S1 id", "v=STSv1; id=20231019145600Z;", "20231019145600Z" },
    { "STS-006 S2 id", "v=STSv1; id=20211201000000Z;", "20211201000000Z" },
    { "STS-006 S3 id", "v=STSv1; id=20200303T120000;", "20200303T120000" },
    { "STS-006 S4 id", "v=STSv1; id=20210803T010101;", "20210803T010101" },
    { "STS-006 seed id someid", "v=STSv1; id=someid;", "someid" },
    { "STS-006 seed id of ten digits", "v=STSv1; id=2023102801;", "2023102801" },
    { "TC-TXT-06 STS-004 an unrelated record beside it", "verification=abc\nv=STSv1; id=a", "a" },
    { "STS-004 SPF and another case of v beside it", "v=spf1 -all\nv=STSv1; id=a\nv=stsv1; id=b",
      "a" },
    { "TC-TXT-09 STS-004 v=STSv12 beside it is dropped", "v=STSv12; id=b\nv=STSv1; id=a", "a" },
    { "TC-TXT-04 STS-009 blank before the semicolon, beside a good one: dropped",
      "v=STSv1 ; id=b\nv=STSv1; id=a", "a" },
};

static struct found_case lenient_cases[] = {
    { "TC-TXT-04 STS-009 blank before the first semicolon, alone: used", "v=STSv1 ; id=a", "a" },
    { "STS-009 tab before the first semicolon, alone: used", "v=STSv1\t \t; id=a;", "a" },
};

static struct unusable_case {
    const char *name, *texts;
    enum sts_record_finding want;
} unusable_cases[] = {
    { "STS-009 blank before the first semicolon, alone, no id: invalid", "v=STSv1 ; x=a",
      STS_RECORD_INVALID },
    { "TC-TXT-07 STS-005 two records, different ids", "v=STSv1; id=a\nv=STSv1; id=b",
      STS_RECORD_SEVERAL },
    { "TC-TXT-08 STS-005 two identical records", "v=STSv1; id=a\nv=STSv1; id=a",
      STS_RECORD_SEVERAL },
    { "STS-005 a broken record counts as well", "v=STSv1; id=a\nv=STSv1;", STS_RECORD_SEVERAL },
    { "TC-TXT-04 STS-009 blank before the semicolon, beside an unrelated one: dropped",
      "v=STSv1 ; id=b\nverification=abc", STS_RECORD_ABSENT },
    { "STS-009 two with blanks before the semicolon: both dropped",
      "v=STSv1 ; id=a\nv=STSv1 ; id=b", STS_RECORD_ABSENT },
    { "STS-004 no records at all", NULL, STS_RECORD_ABSENT },
    { "STS-004 empty record", "", STS_RECORD_ABSENT },
    { "TC-TXT-10 STS-004 v=STSv10", "v=STSv10; id=a", STS_RECORD_ABSENT },
    { "TC-TXT-10 STS-004 v=STSv2", "v=STSv2; id=a", STS_RECORD_ABSENT },
    { "TC-TXT-10 STS-004 V=STSv1", "V=STSv1; id=a", STS_RECORD_ABSENT },
    { "TC-TXT-10 STS-004 v=stsv1", "v=stsv1; id=a", STS_RECORD_ABSENT },
    { "TC-TXT-11 STS-004 version not first", "id=a; v=STSv1;", STS_RECORD_ABSENT },
    { "STS-004 blank before the version", " v=STSv1; id=a", STS_RECORD_ABSENT },
    { "STS-004 blank inside the version", "v= STSv1; id=a", STS_RECORD_ABSENT },
    { "STS-004 version alone", "v=STSv1", STS_RECORD_ABSENT },
    { "STS-004 version and blank, no semicolon", "v=STSv1 id=a", STS_RECORD_ABSENT },
    { "STS-004 quotation marks that belong to a zone file", "\"v=STSv1; id=a;\"",
      STS_RECORD_ABSENT },
    { "TC-TXT-12 STS-006 no field", "v=STSv1;", STS_RECORD_INVALID },
    { "TC-TXT-12 STS-006 no field but blanks", "v=STSv1; \t", STS_RECORD_INVALID },
    { "TC-TXT-12 STS-006 no id", "v=STSv1; x=a;", STS_RECORD_INVALID },
    { "TC-TXT-12 STS-006 empty id", "v=STSv1; id=;", STS_RECORD_INVALID },
    { "STS-006 ID is another field", "v=STSv1; ID=a;", STS_RECORD_INVALID },
    { "TC-TXT-13 STS-006 id of 33 characters", "v=STSv1; id=" ID_32 "2", STS_RECORD_INVALID },
    { "TC-TXT-14 STS-006 id with a hyphen", "v=STSv1; id=a-b", STS_RECORD_INVALID },
    { "TC-TXT-14 STS-006 id with an underscore", "v=STSv1; id=a_b", STS_RECORD_INVALID },
    { "TC-TXT-14 STS-006 id with a dot", "v=STSv1; id=a.b", STS_RECORD_INVALID },
    { "TC-TXT-14 STS-006 id with a blank", "v=STSv1; id=a b", STS_RECORD_INVALID },
    { "TC-TXT-14 STS-006 id behind a blank", "v=STSv1; id= a", STS_RECORD_INVALID },
    { "TC-TXT-14 STS-006 id, blank, equals", "v=STSv1; id =a", STS_RECORD_INVALID },
    { "TC-TXT-14 TC-TXT-19 STS-006 id with non-ASCII", "v=STSv1; id=gr\xc3\xbc",
      STS_RECORD_INVALID },
    { "STS-007 the first id counts, also when it is bad", "v=STSv1; id=a-b; id=c",
      STS_RECORD_INVALID },
    { "STS-007 a later id that is no field at all", "v=STSv1; id=c; id=", STS_RECORD_INVALID },
    { "TC-TXT-17 extension name of 33 characters", "v=STSv1; id=a; " NAME_32 "2=1",
      STS_RECORD_INVALID },
    { "TC-TXT-17 extension name begins with an underscore", "v=STSv1; id=a; _x=1",
      STS_RECORD_INVALID },
    { "TC-TXT-17 extension name begins with a hyphen", "v=STSv1; id=a; -x=1", STS_RECORD_INVALID },
    { "TC-TXT-17 extension name with another character", "v=STSv1; id=a; x+y=1",
      STS_RECORD_INVALID },
    { "TC-TXT-17 extension without name", "v=STSv1; id=a; =1", STS_RECORD_INVALID },
    { "TC-TXT-17 extension without value", "v=STSv1; id=a; x=", STS_RECORD_INVALID },
    { "TC-TXT-17 two equals signs", "v=STSv1; id=a; x==1", STS_RECORD_INVALID },
    { "TC-TXT-17 equals sign in a value", "v=STSv1; id=a; x=1=2", STS_RECORD_INVALID },
    { "STS-007 field without equals sign", "v=STSv1; id=a; x", STS_RECORD_INVALID },
    { "STS-007 fields separated by commas", "v=STSv1; id=a, x=1", STS_RECORD_INVALID },
    { "TC-TXT-18 STS-007 empty field in the middle", "v=STSv1;; id=a", STS_RECORD_INVALID },
    { "TC-TXT-18 STS-007 empty field at the end", "v=STSv1; id=a;;", STS_RECORD_INVALID },
    { "TC-TXT-18 STS-007 empty field of blanks", "v=STSv1; id=a; \t;", STS_RECORD_INVALID },
    { "TC-TXT-18 trailing blank without semicolon", "v=STSv1; id=a ", STS_RECORD_INVALID },
    { "TC-TXT-18 trailing tab without semicolon", "v=STSv1; id=a\t", STS_RECORD_INVALID },
    { "TC-TXT-19 non-ASCII value", "v=STSv1; id=a; x=\xe2\x80\x9c", STS_RECORD_INVALID },
    { "TC-TXT-19 non-ASCII blank", "v=STSv1;\xc2\xa0id=a", STS_RECORD_INVALID },
    { "DEL in a value", "v=STSv1; id=a; x=\x7f", STS_RECORD_INVALID },
};

static size_t
split_lines(const char *lines, struct span texts[TEXTS_MAX])
{
    struct span rest = lines ? span_of(lines) : (struct span){ NULL, 0 };
    size_t count = 0;

    while (lines && count < TEXTS_MAX) {
        texts[count] = span_first(rest, span_find(rest, '\n'));
        if (texts[count].len == rest.len)
            return count + 1;
        rest = span_from(rest, texts[count].len + 1);
        count++;
    }
    return count;
}

static void
check_record(const char *lines, enum sts_record_finding want, const char *id, bool lenient)
{
    struct span texts[TEXTS_MAX] = { { NULL, 0 } };
    size_t count = split_lines(lines, texts);
    struct sts_record record;

    assert_int_equal(sts_record_find(texts, count, &record), want);
    assert_string_equal(record.id, id);
    assert_int_equal(record.lenient, lenient);

    /* The order of records in an answer means nothing. */
    for (size_t i = 0; i < count / 2; i++) {
        struct span other = texts[i];

        texts[i] = texts[count - 1 - i];
        texts[count - 1 - i] = other;
    }
    assert_int_equal(sts_record_find(texts, count, &record), want);
    assert_string_equal(record.id, id);
}

static void
test_found(void **state)
{
    const struct found_case *c = *state;

    check_record(c->texts, STS_RECORD_FOUND, c->id, false);
}

static void
test_lenient(void **state)
{
    const struct found_case *c = *state;

    check_record(c->texts, STS_RECORD_FOUND, c->id, true);
}

static void
test_unusable(void **state)
{
    const struct unusable_case *c = *state;

    check_record(c->texts, c->want, "", false);
}

/* A NUL never ends a record early, and a line end is not a blank. */
static void
test_controls(void **state)
{
    static const struct span texts[] = {
        { "v=STSv1; id=a\0b;", 16 }, { "v=STSv1; id=a;\0", 15 },  { "v=STSv1; id=a;\n", 15 },
        { "v=STSv1; id=a\r\n", 15 }, { "v=STSv1;\r\n id=a", 15 },
    };
    struct sts_record record;

    (void)state;
    for (size_t i = 0; i < ROWS(texts); i++) {
        assert_int_equal(sts_record_find(&texts[i], 1, &record), STS_RECORD_INVALID);
        assert_string_equal(record.id, "");
    }
}

/* Each prefix in memory of its own size, so that a sanitizer sees a read beyond it. */
static void
test_prefixes(void **state)
{
    static const char whole[] = "v=STSv1; id=2016Z ; x=1;";
    size_t version_end = sizeof "v=STSv1;" - 1, id_start = sizeof "v=STSv1; id=" - 1;
    size_t id_end = id_start + 5;

    (void)state;
    for (size_t len = 0; len < sizeof whole; len++) {
        char *copy = malloc(len ? len : 1);
        struct span text = { copy, len };
        struct sts_record record;
        enum sts_record_finding want = STS_RECORD_INVALID;

        assert_non_null(copy);
        memcpy(copy, whole, len);
        if (len < version_end)
            want = STS_RECORD_ABSENT;
        else if ((len > id_start && len <= id_end)         /* a shorter id is an id as well */
                 || len == id_end + 2 || len == id_end + 3 /* ";" and a blank close the record */
                 || len >= id_end + 6)                     /* "x=1" is whole */
            want = STS_RECORD_FOUND;
        assert_int_equal(sts_record_find(&text, 1, &record), want);
        if (want == STS_RECORD_FOUND) {
            assert_int_equal(strlen(record.id), (len < id_end ? len : id_end) - id_start);
            assert_memory_equal(record.id, whole + id_start, strlen(record.id));
        } else {
            assert_string_equal(record.id, "");
        }
        free(copy);
    }
}

/* TC-TXT-28: as much as a DNS message can hold. Work is linear, so that this ends at once. */
static void
test_junk(void **state)
{
    static struct span many[65536];
    static char big[65536];
    static const char *const patterns[] = { "v=STSv1;", ";", " ", "x=1;", "=", "\xff", "id=" };
    struct span one;
    struct sts_record record;

    (void)state;
    for (size_t i = 0; i < ROWS(many); i++)
        many[i] = span_of(i % 2 ? "" : "x");
    assert_int_equal(sts_record_find(many, ROWS(many), &record), STS_RECORD_ABSENT);

    for (size_t p = 0; p < ROWS(patterns); p++) {
        size_t len = strlen(patterns[p]), at = sizeof "v=STSv1;" - 1;

        memcpy(big, "v=STSv1;", at);
        while (at < sizeof big) {
            big[at] = patterns[p][(at - 8) % len];
            at++;
        }
        one = span_make(big, sizeof big);
        assert_int_equal(sts_record_find(&one, 1, &record), STS_RECORD_INVALID);
    }
}

static void
test_reasons(void **state)
{
    (void)state;
    assert_string_equal(sts_record_reason(STS_RECORD_FOUND), "");
    assert_string_equal(sts_record_reason(STS_RECORD_ABSENT), "txt-missing");
    assert_string_equal(sts_record_reason(STS_RECORD_SEVERAL), "txt-several");
    assert_string_equal(sts_record_reason(STS_RECORD_INVALID), "txt-invalid");
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_controls),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_junk),
        cmocka_unit_test(test_reasons),
    };
    struct CMUnitTest
        tests[ROWS(found_cases) + ROWS(lenient_cases) + ROWS(unusable_cases) + ROWS(others)];
    size_t count = 0;

    for (size_t i = 0; i < ROWS(found_cases); i++)
        tests[count++] = (struct CMUnitTest){ .name = found_cases[i].name,
                                              .test_func = test_found,
                                              .initial_state = &found_cases[i] };
    for (size_t i = 0; i < ROWS(lenient_cases); i++)
        tests[count++] = (struct CMUnitTest){ .name = lenient_cases[i].name,
                                              .test_func = test_lenient,
                                              .initial_state = &lenient_cases[i] };
    for (size_t i = 0; i < ROWS(unusable_cases); i++)
        tests[count++] = (struct CMUnitTest){ .name = unusable_cases[i].name,
                                              .test_func = test_unusable,
                                              .initial_state = &unusable_cases[i] };
    for (size_t i = 0; i < ROWS(others); i++)
        tests[count++] = others[i];
    return cmocka_run_group_tests_name("sts_record", tests, NULL, NULL);
}
