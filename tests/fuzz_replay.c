/* tests/fuzz_replay.c: runs a fuzz target over every file of the folders named, so that ordinary
 * builds keep the targets and the corpus alive. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
replay(const char *dir, const char *name)
{
    static uint8_t bytes[1 << 20];
    char path[4096];
    FILE *file;
    size_t len;
    uint8_t *exact;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(1);
    }
    len = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    exact = malloc(len ? len : 1); /* exact size, so that sanitizers see one byte too many */
    if (!exact)
        abort();
    for (size_t i = 0; i < len; i++)
        exact[i] = bytes[i];
    LLVMFuzzerTestOneInput(exact, len);
    free(exact);
}

int
main(int argc, char **argv)
{
    unsigned files = 0;

    for (int i = 1; i < argc; i++) {
        DIR *dir = opendir(argv[i]);
        struct dirent *entry;

        if (!dir) {
            perror(argv[i]);
            return 1;
        }
        while ((entry = readdir(dir)))
            if (entry->d_name[0] != '.') {
                replay(argv[i], entry->d_name);
                files++;
            }
        closedir(dir);
    }
    printf("%u corpus files replayed\n", files);
    return files ? 0 : 1; /* an empty corpus checks nothing */
}
