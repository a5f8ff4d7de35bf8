"""Failures that come of what surrounds a command: variables, locale, time, users."""

from __future__ import annotations

from dataclasses import replace

from tests.corpus.case import Case, Setting, script
from tests.oci_builder import d, f

_MODE = Setting(
    script(
        """
        test "$MODE" != strict || { echo "strict mode: 3 warnings are errors"; exit 1; }
        """,
        step="env: {MODE: strict}",
    )
)
_LOCALE = Setting(
    script(
        """
        name=$(cat name)
        echo "${#name} letters"
        test ${#name} = 5
        """,
        step="shell: bash -e",
        job="env: {LC_ALL: C}",
    ),
    base="python",
    files={"name": "na\u00efve\n"},
)
_ZONE = Setting(
    script(
        """
        day=$(date -d @1700000000 +%F)
        echo "released on $day"
        test "$day" = 2023-11-14
        """,
        job="env: {TZ: JST-9}",
    )
)
_EPOCH = Setting(
    script(
        """
        year=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y)
        echo "Copyright $year"
        grep "$year" LICENSE
        """
    ),
    files={"LICENSE": "Copyright 2023, 2025\n"},
)
_SEED = Setting(
    script(
        """
        import sys
        first = next(iter({"alpha", "beta", "gamma", "delta", "epsilon"}))
        print("first of all:", first)
        sys.exit(first != "alpha")
        """,
        step="shell: python3 -B",
        job='env: {PYTHONHASHSEED: "3"}',
    ),
    base="python",
)
_UMASK = Setting(
    script(
        """
        echo secret >key
        mode=$(stat -c %a key)
        test "$mode" = 600 || { echo "permissions 0$mode for 'key' are too open"; exit 1; }
        """
    )
)
_UID = Setting(script("id -u; echo result >result", step='user: "1000:1000"'))
_USER = Setting(
    script('echo "$(id -un) at home in $HOME"; cat "$HOME/settings"'),
    layer=(d("root"), f("root/settings", "settings\n"), d("home"), d("home/builder", uid=1000, gid=1000)),
    config={"User": "builder"},
)
_WORKDIR = Setting(
    script("pwd; cat data/input", step="workdir: packages/api"),
    files={"packages/api/main": "", "data/input": "input\n"},
)
_ENTRYPOINT = Setting(
    script("cat /etc/ready"),
    layer=(f("entry", '#!/bin/sh\necho ready >/etc/ready\nexec "$@"\n', mode=0o755),),
    config={"Entrypoint": ["/entry"], "Cmd": ["sh"]},
)
_HOSTNAME = Setting(script("hostname; grep -q ^$(hostname)$ hosts"), files={"hosts": "build-7\n"})

CASES = (
    Case(
        "env-variable", _MODE, "exit status 1", "strict mode: 3 warnings are errors", _MODE.instead("strict}", "lax}")
    ),
    Case("locale", _LOCALE, "exit status 1", "6 letters", _LOCALE.instead("LC_ALL: C}", "LC_ALL: C.UTF-8}")),
    Case("time-zone", _ZONE, "exit status 1", "released on 2023-11-15", _ZONE.instead("JST-9", "UTC")),
    Case(
        "source-date-epoch",
        _EPOCH,
        "exit status 1",
        "Copyright 2024",
        replace(_EPOCH, committed_at="2025-01-01T00:00:00Z"),
    ),
    Case("hash-seed", _SEED, "exit status 1", "first of all: gamma", _SEED.instead('"3"', '"4"')),
    Case(
        "umask",
        _UMASK,
        "exit status 1",
        "permissions 0644 for 'key' are too open",
        _UMASK.instead("echo secret", "umask 077; echo secret"),
    ),
    Case("uid", _UID, "exit status 1", "1000", _UID.instead("1000:1000", "0:0")),
    Case("user", _USER, "exit status 1", "builder at home in /home/builder", replace(_USER, config={})),
    Case("workdir", _WORKDIR, "exit status 1", "/workspace/packages/api", _WORKDIR.instead("packages/api", ".")),
    Case(
        "entrypoint",
        _ENTRYPOINT,
        "exit status 1",
        "cat: can't open '/etc/ready': No such file or directory",
        _ENTRYPOINT.instead("cat /etc", "/entry cat /etc"),
    ),
    Case("hostname", _HOSTNAME, "exit status 1", "ci-env", _HOSTNAME.but({"hosts": "ci-env\n"})),
)
