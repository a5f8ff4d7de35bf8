#ifndef CRC32_H
#define CRC32_H

#include <stddef.h>
#include <stdint.h>

/* Continue a CRC-32 (ISO-HDLC, as zip and PNG use it) over more bytes; begin with 0. */
uint32_t crc32_update(uint32_t crc, const unsigned char *bytes, size_t count);

#endif
