"""Failures that come of what was before, beside or around a step: other steps, jobs, services, secrets; and chance."""

from __future__ import annotations

from dataclasses import replace

from tests.corpus.case import Asked, Case, Elsewhere, Setting, putting, script
from tests.oci_builder import f

_LONG = Setting(script("seq 150000 | sed 's/^/building module /'; echo 'error: module 77003 is missing'; exit 1"))
_REPORT = """
cat >report.xml <<END
<testsuite><testcase classname="shop.Cart" name="adds"/>
<testcase classname="shop.Cart" name="pays"><failure message="expected 3 got 4"/></testcase></testsuite>
END
echo "1 of 2 tests failed"
exit 1
"""
_TEST_ID = Setting(script(_REPORT, step="reports: {junit: [report.xml]}"))
_REFUSED = Setting(script("wget -q -O - http://127.0.0.1:8080/health"))
_NO_SERVICE = Setting(script("echo asking; nc -w 2 database 5432 </dev/null"))
_SERVES = """services:
    database: {image: "IMAGE", command: [sh, -c, "exec nc -ll -p 5432 -e echo schema 6"], ready: {tcp: 5432}}"""
_SERVICE = Setting(
    script(
        "schema=$(nc -w 2 database 5432 </dev/null); echo it has $schema; test \"$schema\" = 'schema 7'", job=_SERVES
    )
)
_MATRIX = Setting(
    """
    test:
      matrix: {api: [1, 2]}
      steps:
        - {name: prepare, run: "echo ${{ matrix.api }} >api"}
        - {name: test, run: "echo api $(cat api); test $(cat api) = 1"}
    """
)
_CACHED = Setting(
    """
    test:
      steps:
        - {name: generate, inputs: [seed], run: "od -An -N4 -tu4 /dev/urandom >number; echo made"}
        - {name: test, inputs: [check.sh], run: "sh check.sh"}
    """,
    files={"seed": "1", "check.sh": "true\n"},
    before=putting("check.sh", "echo unexpected:; cat number; exit 3\n"),
)
_SECRETS = Setting(
    script(
        """
        case $TOKEN in
          right-*) echo accepted;;
          *) echo "401: this token has expired"; echo "$TOKEN" >.netrc; exit 22;;
        esac
        """,
        job="secrets: [TOKEN]\n  secret_env: {TOKEN: TOKEN}",
    ),
    secrets={"TOKEN": "expired-token-0815"},
)
_NEEDS = Setting(
    """
    build:
      steps: [{name: build, run: "echo 2 >version", artifacts: [version]}]
    test:
      needs: [build]
      steps: [{name: test, run: "echo version $(cat version); test $(cat version) = 3"}]
    """
)
_GONE = Setting(
    """
    test:
      steps:
        - {name: clean, run: "rm -r old /etc/tool.conf; mkdir old; echo kept >old/new"}
        - {name: test, run: "ls old; cat /etc/tool.conf"}
    """,
    files={"old/file": "file\n"},
    layer=(f("etc/tool.conf", "setting\n"),),
)
_FLAKY = Setting(
    script(
        """
        number=$(od -An -N1 -tu1 /dev/urandom)
        test $number -ge 96 || { echo "the lock was taken"; exit 1; }
        """
    )
)

CASES = (
    Case(
        "long-output",
        _LONG,
        "exit status 1",
        "error: module 77003 is missing",
        _LONG.instead("error: module 77003", "error: module 77004"),
        "different",
    ),
    Case(
        "test-id",
        _TEST_ID,
        "exit status 1",
        "1 of 2 tests failed",
        _TEST_ID.instead('name="pays"', 'name="ships"'),
        "different",
    ),
    Case(
        "network-refused",
        _REFUSED,
        "exit status 1",
        "wget: can't connect to remote host (127.0.0.1): Connection refused",
        _REFUSED.instead("wget", "echo up >health; httpd -p 127.0.0.1:8080; wget"),
    ),
    Case(
        "service-missing",
        _NO_SERVICE,
        "exit status 1",
        "nc: bad address 'database'",
        replace(_NO_SERVICE, jobs=script("echo asking; nc -w 2 database 5432 </dev/null", job=_SERVES)),
    ),
    Case(
        "service-with-another-schema",
        _SERVICE,
        "exit status 1",
        "it has schema 6",
        _SERVICE.instead("schema 6", "schema 7"),
    ),
    Case("matrix-leg", _MATRIX, "exit status 1", "api 2", Elsewhere("test (api=1)/test")),
    Case(
        "cached-earlier-steps",
        _CACHED,
        "exit status 3",
        "unexpected:",
        replace(_CACHED, options=("--no-cache",)),
        "different",
    ),
    Case(
        "secrets",
        _SECRETS,
        "exit status 22",
        "401: this token has expired",
        Asked(("--secret", "TOKEN=right-token-0816")),
        options=("--secret", "TOKEN=expired-token-0815"),
    ),
    Case("artifacts-of-needed-job", _NEEDS, "exit status 1", "version 2", _NEEDS.instead("echo 2", "echo 3")),
    Case(
        "removed-files",
        _GONE,
        "exit status 1",
        "cat: can't open '/etc/tool.conf': No such file or directory",
        _GONE.instead("/etc/tool.conf; mkdir", "; mkdir"),
    ),
    Case(
        "flaky",
        _FLAKY,
        "exit status 1",
        "the lock was taken",
        _FLAKY.instead("-ge 96", "-ge 0"),
        options=("--times", "20"),
        is_flaky=True,
    ),
)
