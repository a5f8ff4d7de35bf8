/* crcsum: print the CRC-32 of each file, or of standard input. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "crc32.h"

static int print_sum(FILE *file, const char *name)
{
    unsigned char buffer[65536];
    uint32_t crc = 0;
    size_t count;

    while ((count = fread(buffer, 1, sizeof buffer, file)) > 0)
        crc = crc32_update(crc, buffer, count);
    if (ferror(file)) {
        fprintf(stderr, "crcsum: %s: %s\n", name, strerror(errno));
        return 1;
    }
    printf("%08" PRIx32 "  %s\n", crc, name);
    return 0;
}

int main(int argc, char **argv)
{
    int status = 0;

    if (argc == 1)
        return print_sum(stdin, "-");
    for (int i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");

        if (!file) {
            fprintf(stderr, "crcsum: %s: %s\n", argv[i], strerror(errno));
            status = 1;
            continue;
        }
        status |= print_sum(file, argv[i]);
        fclose(file);
    }
    return status;
}
