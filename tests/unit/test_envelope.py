"""DSSE envelopes: the specification's vector, and what is refused before a signature is looked at."""

from __future__ import annotations

import base64
import json
import random

import pytest

from ci_env.capsule.envelope import MAX_BYTES, PAYLOAD_TYPE, Envelope, read, signed_bytes, write
from ci_env.errors import ConfigError


def test_what_is_signed_as_the_specification_has_it() -> None:
    expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"  # protocol.md, test vectors
    assert signed_bytes("http://example.com/HelloWorld", b"hello world") == expected
    assert signed_bytes("é", b"") == b"DSSEv1 2 \xc3\xa9 0 "  # lengths in bytes


def test_what_is_written_is_read() -> None:
    envelope = Envelope(b'{"a":1}', random.Random(1).randbytes(64))
    content = write(envelope, key_id="ab")
    assert read(content, what="it") == envelope
    document = json.loads(content)
    document["payload"] = base64.urlsafe_b64encode(envelope.payload).decode()
    document["signatures"][0]["sig"] = base64.urlsafe_b64encode(envelope.signature).decode()
    assert read(json.dumps(document).encode(), what="it") == envelope


GOOD = f'{{"payloadType":"{PAYLOAD_TYPE}","payload":"e30=","signatures":[{{"sig":"AA=="}}]}}'


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (GOOD.replace(PAYLOAD_TYPE, "text/plain"), "of type 'text/plain'"),
        (GOOD.replace(f'"{PAYLOAD_TYPE}"', "7"), "of type 7"),
        (GOOD.replace('[{"sig":"AA=="}]', '[{"sig":"AA=="},{"sig":"AA=="}]'), "has 2 signatures"),
        (GOOD.replace('[{"sig":"AA=="}]', "[]"), "has 0 signatures"),
        (GOOD.replace('[{"sig":"AA=="}]', "{}"), "no signatures"),
        (GOOD.replace('{"sig":"AA=="}', "null"), "not base64"),
        (GOOD.replace('"e30="', '"e30=\\n!"'), "not base64"),
        (GOOD.replace('"e30="', '"e3"'), "not base64"),
        (GOOD.replace('"payload"', '"payload":"e30=","payload"'), "twice"),
        ("[]", "no JSON object"),
        ("[" * 200_000, "not JSON"),
        ("é\ud800", "not JSON"),
        (" " * (MAX_BYTES + 1), "larger than"),
        ("", "not JSON"),
    ],
)
def test_what_is_refused(content: str, why: str) -> None:
    read(GOOD.encode(), what="it")
    with pytest.raises(ConfigError, match=why):
        read(content.encode(errors="surrogatepass"), what="it")
