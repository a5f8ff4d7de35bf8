"""A Dockerfile's layout: what the parser makes of text, and what it says of text that is wrong."""

from __future__ import annotations

import pytest

from ci_env.dockerfile.check import check
from ci_env.dockerfile.model import Heredoc, Instruction
from ci_env.dockerfile.parse import parse
from ci_env.dockerfile.stages import find_base, find_stage, names_of
from ci_env.errors import ConfigError


def instructions(text: str) -> list[Instruction]:
    """Return what follows the first line, which is FROM."""
    return list(parse(f"FROM scratch\n{text}", file="Dockerfile").stages[0].instructions)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("run echo  hi ", ("RUN", "echo  hi", 2)),
        ("  RUN\techo", ("RUN", "echo", 2)),
        ("\n\n# c\n  # c\nUSER a", ("USER", "a", 6)),
        ("RUN a\\\n b", ("RUN", "a b", 2)),
        ("RUN a \\  \n b", ("RUN", "a  b", 2)),
        ("RUN a\\\r\n b\r\n", ("RUN", "a b", 2)),
        ("RUN a\\\n# gone\n  # gone\nb", ("RUN", "ab", 2)),
        ("RUN a\\\n\n\nb", ("RUN", "ab", 2)),
        ("RUN a\\", ("RUN", "a", 2)),
        ("RUN a\\\\\nUSER b", ("RUN", "a\\\\", 2)),
        ("\\\nRUN a", ("RUN", "a", 2)),
        ("RUN echo # no comment", ("RUN", "echo # no comment", 2)),
        ("RUN echo <<<here", ("RUN", "echo <<<here", 2)),
        ("RUN echo '<<'A", ("RUN", "echo '<<'A", 2)),
        ("RUN echo $((1<<2))", ("RUN", "echo $((1<<2))", 2)),
        ("CMD echo <<EOF", ("CMD", "echo <<EOF", 2)),
    ],
)
def test_lines(text: str, expected: tuple[str, str, int]) -> None:
    keyword, line, number = expected
    found = instructions(text)[0]
    assert (found.keyword, found.text, found.at) == (keyword, line, f"Dockerfile:{number}")
    assert found.heredocs == ()


@pytest.mark.parametrize(
    ("text", "flags", "rest"),
    [
        ("COPY --from=a --link b c", (("from", "a"), ("link", "")), "b c"),
        ("COPY  --chown='a b'  x y", (("chown", "a b"),), "x y"),
        ('COPY --chown="a\\"b" x y', (("chown", 'a"b'),), "x y"),
        ("RUN -- --x", (), "--x"),
        ("RUN echo --x", (), "echo --x"),
        ("RUN --mount=type=cache,target=/a --mount=type=cache,target=/b c",
         (("mount", "type=cache,target=/a"), ("mount", "type=cache,target=/b")), "c"),
    ],
)  # fmt: skip
def test_flags(text: str, flags: tuple[tuple[str, str], ...], rest: str) -> None:
    found = instructions(text)[0]
    assert (found.flags, found.text) == (flags, rest)


@pytest.mark.parametrize(
    ("text", "heredocs"),
    [
        ("RUN <<EOF\na\n# b\n\nEOF", [Heredoc("EOF", "a\n# b\n\n", True)]),
        ("RUN <<EOF\nEOF", [Heredoc("EOF", "", True)]),
        ("RUN <<'EOF'\n$a\\\nEOF", [Heredoc("EOF", "$a\\\n", False)]),
        ('RUN <<"E F"\na\nE F', [Heredoc("E F", "a\n", False)]),
        ("RUN << EOF\na\nEOF", [Heredoc("EOF", "a\n", True)]),
        ("RUN <<-EOF\n\ta\n \tb\n\tEOF", [Heredoc("EOF", "a\n \tb\n", True)]),
        ("RUN 3<<EOF\na\nEOF", [Heredoc("EOF", "a\n", True)]),
        ("RUN <<$E\na\n$E", [Heredoc("$E", "a\n", True)]),
        ("RUN <<\\EOF\na\nEOF", [Heredoc("EOF", "a\n", True)]),
        ("RUN cat <<A <<B\na\nA\nb\nB", [Heredoc("A", "a\n", True), Heredoc("B", "b\n", True)]),
        ("RUN cat \\\n <<A \\\n && b\na\nA", [Heredoc("A", "a\n", True)]),
        ("COPY <<a.txt b /c/\nx\r\na.txt\r\n", [Heredoc("a.txt", "x\r\n", True)]),
        ("ONBUILD RUN <<EOF\na\nEOF", [Heredoc("EOF", "a\n", True)]),
    ],
)
def test_heredocs(text: str, heredocs: list[Heredoc]) -> None:
    found = instructions(f"{text}\nUSER next")
    assert list(found[0].heredocs) == heredocs
    assert found[1].keyword == "USER"


def test_directives() -> None:
    text = "\ufeff# Escape = `\n#syntax=docker/dockerfile:1.4\n# check=skip=all\nFROM scratch\nRUN a `\n  b \\\n"
    found = parse(text, file="f")
    assert found.escape == found.stages[0].escape == "`"
    assert [one.text for one in found.stages[0].instructions] == ["a   b \\"]


@pytest.mark.parametrize("before", ["\n", "# comment\n", "# unknown=1\n"])
def test_directives_end_with_the_first_other_line(before: str) -> None:
    assert parse(f"{before}# escape=`\nFROM scratch\n", file="f").escape == "\\"


def test_stages() -> None:
    found = parse(
        "ARG V=1\nFROM --platform=$BUILDPLATFORM alpine:$V as Build\nFROM build\nCOPY --from=BUILD a b\n"
        "COPY --from=0 a b\nFROM scratch AS last\nCOPY --from=1 / /\nCOPY --from=alpine / /",
        file="f",
    )
    assert [one.text for one in found.arguments] == ["V=1"]
    assert [(one.number, one.name, one.base, one.platform, one.at) for one in found.stages] == [
        (0, "build", "alpine:$V", "$BUILDPLATFORM", "f:2"),
        (1, None, "build", None, "f:3"),
        (2, "last", "scratch", None, "f:6"),
    ]
    first, second, last = found.stages
    assert [find_base(found.stages, stage) for stage in found.stages] == [None, first, None]
    assert find_stage(found.stages, "LAST") is last
    assert find_stage(found.stages, "1") is second
    assert find_stage(found.stages, "3") is None
    assert find_stage(found.stages, "alpine") is None


def test_names_of_stages_that_have_none() -> None:
    stages = parse("FROM a AS stage-2\nFROM a\nFROM a\nFROM a AS stage-3\nFROM a AS stage-2_", file="f").stages
    assert names_of(stages) == ("stage-2", "stage-1", "stage-2__", "stage-3", "stage-2_")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f: no FROM: there is nothing to build"),
        ("# only\n", "f: no FROM: there is nothing to build"),
        ("ARG a", "f: no FROM: there is nothing to build"),
        ("RUN a\nFROM b", "f:1: RUN before the first FROM"),
        ("FORM a", "f:1: unknown instruction `FORM`; did you mean `FROM`?"),
        ("FROM a\nrnu b", "f:2: unknown instruction `rnu`; did you mean `RUN`?"),
        ("FROM a\n{}", "f:2: unknown instruction `{}`"),
        ("FROM a\n \\\n", "f:2: a `\\` continues a line without an instruction"),
        ("FROM a\nRUN \0", "f:2: a NUL character"),
        ("# escape=x\nFROM a", "f:1: the escape is `\\` or `` ` ``, not `x`"),
        ("# escape=`\n# escape=`\nFROM a", "f:2: the directive `escape` is there twice"),
        ("# syntax=me/frontend:1\nFROM a", "f:1: the syntax `me/frontend:1` is not supported"),
        ("FROM", "f:1: FROM needs a value"),
        ("FROM a b", "f:1: FROM is written `FROM image` or `FROM image AS name`"),
        ("FROM a b c", "f:1: FROM is written `FROM image` or `FROM image AS name`"),
        ("FROM a AS 1b", "f:1: `1b` is not a stage's name"),
        ("FROM a AS scratch", "f:1: `scratch` is not a stage's name"),
        ("FROM a AS b\nFROM a AS B", "f:2: the stage name `b` is there twice"),
        ("FROM --platfrom=x a", "f:1: FROM has no flag `--platfrom`; did you mean `--platform`?"),
        ("FROM --platform a", "f:1: `--platform` needs a value, as in `--platform=VALUE`"),
        ("FROM a\nRUN <<EOF\nb", "f:2: the heredoc `EOF` is not ended"),
        ("FROM a\nRUN", "f:2: RUN needs a command"),
        ("FROM a\nRUN []", "f:2: RUN needs a command"),
        ("FROM a\nRUN [1]", "f:2: a JSON list of anything but texts"),
        ("FROM a\nRUN --security=insecure b", "f:2: `RUN --security` is not supported"),
        ("FROM a\nRUN --device=x b", "f:2: `RUN --device` is not supported"),
        ("FROM a\nRUN --netwerk=none b", "f:2: RUN has no flag `--netwerk`; did you mean `--network`?"),
        ("FROM a\nRUN --network=bridge b", "f:2: `--network` is `default`, `none` or `host`, not `bridge`"),
        ("FROM a\nRUN --mount=target=/x b", "f:2: `--mount=type=bind` is not supported"),
        ("FROM a\nRUN --mount=type=secret,id=x b", "f:2: `--mount=type=secret` is not supported"),
        ("FROM a\nRUN --mount=type=cach b", "f:2: `--mount=type=cach` is not supported; did you mean `cache`?"),
        ("FROM a\nRUN --mount=type=cache b", "f:2: `--mount=type=cache` needs `target=PATH`"),
        ("FROM a\nRUN --mount=type=cache,target=/x,sharing=locked b",
         "f:2: `sharing=locked` of a cache is not supported; leave it out"),
        ("FROM a\nRUN --mount=type=cache,target=/x,id=y b", "f:2: `id=y` of a cache is not supported; leave it out"),
        ("FROM a\nRUN --mount=type=cache,target=/x,ro b", "f:2: `ro=true` of a cache is not supported; leave it out"),
        ("FROM a\nRUN --mount=type=cache,tagret=$x b", "f:2: `--mount` has no option `tagret`; did you mean `target`?"),
        ("FROM a\nCOPY", "f:2: COPY needs what to copy, and where to"),
        ("FROM a\nCOPY b", "f:2: COPY needs what to copy, and where to"),
        ('FROM a\nADD ["b"]', "f:2: ADD needs what to copy, and where to"),
        ("FROM a\nCOPY b <<EOF\nEOF", "f:2: a heredoc cannot be where COPY copies to"),
        ("FROM a\nCOPY <<../b /c\n../b", "f:2: the heredoc `../b` of COPY is no file's name"),
        ("FROM a\nONBUILD ADD <<.. /c\n..", "f:2: the heredoc `..` of ADD is no file's name"),
        ("FROM a\nCOPY << EOF /b\nEOF", "f:2: a heredoc of COPY must be a word of its own, as in `<<NAME`"),
        ("FROM a\nADD https://x/y /b", "f:2: ADD of a URL or a git repository is not supported: https://x/y"),
        ("FROM a\nADD git@github.com:a/b.git /b",
         "f:2: ADD of a URL or a git repository is not supported: git@github.com:a/b.git"),
        ("FROM a\nADD --checksum=sha256:1 b c", "f:2: `ADD --checksum` is not supported"),
        ("FROM a\nCOPY --parents b c", "f:2: `COPY --parents` is not supported"),
        ("FROM a\nCOPY --exclude=x b c", "f:2: `COPY --exclude` is not supported"),
        ("FROM a\nADD --from=x b c", "f:2: ADD has no flag `--from`"),
        ("FROM a\nCOPY --link=maybe b c", "f:2: `--link` is `true` or `false`, not `maybe`"),
        ("FROM a\nCOPY --chown=a --chown=b c d", "f:2: `--chown` is there twice"),
        ("FROM a\nCOPY --chmod=u+x b c", "f:2: `--chmod` needs an octal number up to 7777, not `u+x`"),
        ("FROM a\nCOPY --chmod=77777 b c", "f:2: `--chmod` needs an octal number up to 7777, not `77777`"),
        ("FROM a\nCOPY --from=$b c d", "f:2: `--from=$b`: variables do not count here"),
        ("FROM a\nCOPY --from=0 b c", "f:2: `--from=0`: no earlier stage is that"),
        ("FROM a\nCOPY --from=7 b c", "f:2: `--from=7`: no earlier stage is that"),
        ("FROM a\nCOPY --from=later b c\nFROM a AS later", "f:2: `--from=later`: no earlier stage is that"),
        ("FROM a\nENV", "f:2: ENV needs NAME=value"),
        ("FROM a\nENV b", "f:2: `b` has no value; write `b=value`"),
        ("FROM a\nENV b=c d", "f:2: `d` has no `=`; write NAME=value"),
        ("FROM a\nLABEL =c", "f:2: `=c` has no name before the `=`"),
        ("FROM a\nARG", "f:2: ARG needs NAME"),
        ("FROM a\nSHELL /bin/bash -c", 'f:2: SHELL needs a JSON list, as in ["/bin/bash", "-c"]'),
        ("FROM a\nSHELL []", 'f:2: SHELL needs a JSON list, as in ["/bin/bash", "-c"]'),
        ("FROM a\nUSER", "f:2: USER needs a value"),
        ("FROM a\nUSER --x b", "f:2: USER has no flag `--x`"),
        ("FROM a\nONBUILD", "f:2: ONBUILD needs an instruction"),
        ("FROM a\nONBUILD FROM b", "f:2: ONBUILD cannot keep FROM for later"),
        ("FROM a\nONBUILD onbuild RUN b", "f:2: ONBUILD cannot keep ONBUILD for later"),
        ("FROM a\nONBUILD MAINTAINER b", "f:2: ONBUILD cannot keep MAINTAINER for later"),
        ("FROM a\nONBUILD RNU b", "f:2: unknown instruction `RNU`; did you mean `RUN`?"),
        ("FROM a\nHEALTHCHECK TCP 1",
         "f:2: HEALTHCHECK is written `HEALTHCHECK CMD command` or `HEALTHCHECK NONE`"),
        ("FROM a\nHEALTHCHECK CMD", "f:2: HEALTHCHECK needs a command"),
        ("FROM a\nHEALTHCHECK NONE x", "f:2: HEALTHCHECK NONE has nothing else"),
        ("FROM a\nHEALTHCHECK --interval=1 CMD b", "f:2: `--interval` needs a duration such as 1m30s, not `1`"),
        ("FROM a\nHEALTHCHECK --timeout=1us CMD b", "f:2: `--timeout=1us` is less than 1ms or more than 100 days"),
        ("FROM a\nHEALTHCHECK --retries=-1 CMD b", "f:2: `--retries` needs a number, not `-1`"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, file="f")
    assert str(caught.value) == message


def test_an_argv_has_no_heredoc() -> None:
    instruction = Instruction("RUN", (), '["cat"]', (Heredoc("EOF", "", True),), "f:1")
    with pytest.raises(ConfigError, match="RUN with a JSON list cannot have a heredoc"):
        check(instruction, escape="\\")
