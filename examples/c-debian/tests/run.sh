#!/bin/sh
# The check value of the CRC catalogue, no bytes at all, and a file that is not there.
set -eu

expect() {
    if [ "$1" = "$2" ]; then echo "ok: $3"; else echo "FAILED: $3: $1, not $2" >&2; exit 1; fi
}

expect "$(printf 123456789 | ./crcsum)" "cbf43926  -" "check value"
expect "$(./crcsum /dev/null)" "00000000  /dev/null" "no bytes"
./crcsum missing 2>/dev/null && { echo "FAILED: a missing file is no error" >&2; exit 1; }
echo "ok: a missing file is an error"
