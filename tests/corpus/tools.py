"""Failures that come of the tools in the image, and of what they are given to do."""

from __future__ import annotations

from dataclasses import replace

from tests.corpus.case import Case, Setting, script
from tests.oci_builder import f

_LINT = """#!/bin/sh
echo "lint 2.0"
test "$1" != --fix || { echo "lint: unknown option --fix"; exit 2; }
"""
_FORMER = '#!/bin/sh\necho "lint 1.9"\n'
_VERSION = Setting(script("lint --fix ."), layer=(f("bin/lint", _LINT, mode=0o755),))
_MISSING = Setting(script("jq .name package.json"), files={"package.json": "{}"})
_COMPILER = Setting(
    script("gcc -c -o main.o main.c", step="env: {LC_ALL: C}"),
    base="debian",
    files={"main.c": "int main(void) {\n    return total(1) + count;\n}\n"},
)
_SYNTAX = Setting(script("sh -n ./release.sh"), files={"release.sh": "#!/bin/sh\nif true; then\necho done\n"})
_NO_PROGRAM = Setting(script("./bin/tool --version"), files={"bin/tool/main": ""})
_NO_INTERPRETER = Setting(script("./generate"), files={"generate": "#!/opt/ruby/bin/ruby\nputs 1\n"})
_REMOTE = Setting(
    script("./ssh deploy@example.org uptime"),
    files={"ssh": '#!/bin/sh\necho "ssh: connection to $1 closed by remote end"\nexit 255\n'},
)
_PIPE = Setting(
    script("echo sorting; seq 5 | grep 7 | sort; echo sorted", step="shell: bash -euo pipefail"), base="python"
)

CASES = (
    Case(
        "compiler-error",
        _COMPILER,
        "exit status 1",
        "main.c:2:23: error: 'count' undeclared (first use in this function)",
        _COMPILER.but({"main.c": "int main(void) {\n    return total(1) + sum;\n}\n"}),
        "different",
    ),
    Case(
        "tool-version",
        _VERSION,
        "exit status 2",
        "lint: unknown option --fix",
        replace(_VERSION, layer=(f("bin/lint", _FORMER, mode=0o755),)),
    ),
    Case(
        "missing-tool",
        _MISSING,
        "exit status 127",
        "sh: jq: not found",
        replace(_MISSING, layer=(f("bin/jq", "#!/bin/sh\n", mode=0o755),)),
    ),
    Case(
        "exit-2",
        _SYNTAX,
        "exit status 2",
        './release.sh: line 4: syntax error: unexpected end of file (expecting "fi")',
        _SYNTAX.but({"release.sh": "#!/bin/sh\nif true; then\necho done\nfi\n"}),
    ),
    Case(
        "exit-126",
        _NO_PROGRAM,
        "exit status 126",
        "sh: ./bin/tool: Permission denied",
        replace(_NO_PROGRAM, files={"bin/tool": "#!/bin/sh\necho 1\n"}),
    ),
    Case(
        "exit-127",
        _NO_INTERPRETER,
        "exit status 127",
        "sh: ./generate: not found",
        _NO_INTERPRETER.but({"generate": "#!/bin/sh\necho 1\n"}),
    ),
    Case(
        "exit-255",
        _REMOTE,
        "exit status 255",
        "ssh: connection to deploy@example.org closed by remote end",
        _REMOTE.instead("./ssh", "true"),
    ),
    Case("pipe-status", _PIPE, "exit status 1", "sorting", _PIPE.instead("-euo pipefail", "-eu")),
)
