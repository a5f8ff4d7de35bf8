"""What the stages of a Dockerfile come to: operations, configuration, history."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ci_env.digest import Json
from ci_env.dockerfile.arguments import unused_arguments, with_arguments
from ci_env.dockerfile.evaluate import evaluate
from ci_env.dockerfile.image_config import base_of, config_of, scratch
from ci_env.dockerfile.model import Base, Copy, Evaluated, Run
from ci_env.dockerfile.parse import parse
from ci_env.errors import ConfigError
from ci_env.oci.platform import Platform

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TARGET, BUILD = Platform("linux", "arm", "v7"), Platform("linux", "amd64")
INHERITED: Mapping[str, Json] = {
    "Env": ["PATH=/bin", "HOME=/home"],
    "User": "me",
    "WorkingDir": "/work",
    "Entrypoint": ["/enter"],
    "Cmd": ["serve"],
    "Labels": {"a": "1"},
    "ExposedPorts": {"80/tcp": {}},
    "Volumes": {"/data": {}},
    "StopSignal": "SIGINT",
    "Healthcheck": {"Test": ["NONE"]},
    "Shell": ["/bin/bash", "-c"],
    "ArgsEscaped": True,
}


def built(text: str, given: Mapping[str, str] | None = None, *, base: Base | None = None) -> Evaluated:
    """Return the last stage, evaluated on the one before where that is its base."""
    found, arguments = with_arguments(parse(text, file="f"), given or {}, target=TARGET, build=BUILD)
    done: dict[str | None, Evaluated] = {}
    for stage in found.stages:
        on = done[stage.base].result if stage.base in done else base or scratch()
        done[stage.name] = evaluate(stage, on, given or {}, arguments)
    return done[found.stages[-1].name]


def after(text: str, given: Mapping[str, str] | None = None, *, base: Base | None = None) -> Evaluated:
    return built(f"FROM image\n{text}", given, base=base)


def run_of(evaluated: Evaluated) -> Run:
    (found,) = (one for one in evaluated.operations if isinstance(one, Run))
    return found


def copy_of(text: str) -> Copy:
    found = after(text).operations[-1]
    assert isinstance(found, Copy)
    return found


def test_what_an_image_says_is_inherited_and_written_again() -> None:
    expected = {name: value for name, value in INHERITED.items() if name != "ArgsEscaped"}
    assert config_of(base_of(INHERITED)) == expected
    assert after("RUN x", base=base_of(INHERITED)).config == expected


def test_scratch() -> None:
    assert built("FROM scratch").config == {"Env": [f"PATH={PATH}"], "WorkingDir": "/"}
    assert base_of({"Env": None}).env == {"PATH": PATH}


@pytest.mark.parametrize(
    "config", [{"Env": "A=b"}, {"Cmd": [1]}, {"User": 3}, {"Volumes": ["/x"]}, {"Shell": ["/bin/sh\0"]}]
)
def test_a_malformed_configuration_is_refused(config: Mapping[str, Json]) -> None:
    (name,) = config
    with pytest.raises(ConfigError, match=f"malformed at `{name}`"):
        base_of(config)


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("USER $HOME:x", "User", "/home:x"),
        ("WORKDIR a/../b", "WorkingDir", "/work/b"),
        ("WORKDIR ../../..", "WorkingDir", "/"),
        ("WORKDIR /x//y/", "WorkingDir", "/x/y"),
        ("WORKDIR a\nWORKDIR b", "WorkingDir", "/work/a/b"),
        ('WORKDIR "a b"', "WorkingDir", "/work/a b"),
        ("ENV A=1 B=$A", "Env", ["PATH=/bin", "HOME=/home", "A=1", "B="]),
        ("ENV A=1\nENV B=$A", "Env", ["PATH=/bin", "HOME=/home", "A=1", "B=1"]),
        ("ENV HOME=/new PATH=$PATH:/x", "Env", ["PATH=/bin:/x", "HOME=/new"]),
        ("ENV A b  c=d 'e'", "Env", ["PATH=/bin", "HOME=/home", "A=b  c=d e"]),
        ("ENV A='b c' D=e\\ f", "Env", ["PATH=/bin", "HOME=/home", "A=b c", "D=e f"]),
        ("LABEL a=2 \"b c\"='$HOME'", "Labels", {"a": "2", "b c": "$HOME"}),
        ("LABEL a $HOME", "Labels", {"a": "/home"}),
        ("EXPOSE 8080 53/UDP", "ExposedPorts", {"53/udp": {}, "80/tcp": {}, "8080/tcp": {}}),
        ("ENV P='1 2-3'\nEXPOSE $P", "ExposedPorts", {"1/tcp": {}, "2/tcp": {}, "3/tcp": {}, "80/tcp": {}}),
        ('VOLUME ["/a b", "$HOME"]', "Volumes", {"/data": {}, "/a b": {}, "/home": {}}),
        ("VOLUME /a /b", "Volumes", {"/data": {}, "/a": {}, "/b": {}}),
        ("STOPSIGNAL SIGRTMIN+3", "StopSignal", "SIGRTMIN+3"),
        ("STOPSIGNAL 9", "StopSignal", "9"),
        ('SHELL ["/bin/sh", "-ec"]', "Shell", ["/bin/sh", "-ec"]),
        ("CMD echo $HOME", "Cmd", ["/bin/bash", "-c", "echo $HOME"]),
        ('CMD ["echo", "$HOME"]', "Cmd", ["echo", "$HOME"]),
        ("CMD ['echo']", "Cmd", ["/bin/bash", "-c", "['echo']"]),
        ('SHELL ["/s"]\nCMD x', "Cmd", ["/s", "x"]),
        ("ENTRYPOINT x", "Entrypoint", ["/bin/bash", "-c", "x"]),
        ("ENTRYPOINT []", "Entrypoint", None),
        ("ENTRYPOINT x", "Cmd", None),
        ("CMD y\nENTRYPOINT x", "Cmd", ["/bin/bash", "-c", "y"]),
        ("CMD []", "Cmd", None),
        ("HEALTHCHECK NONE", "Healthcheck", {"Test": ["NONE"]}),
        ('HEALTHCHECK cmd ["a"]', "Healthcheck", {"Test": ["CMD", "a"]}),
        ("HEALTHCHECK --interval=1m0.5s --timeout=0 --retries=3 --start-period=2h --start-interval=10ms CMD a  b",
         "Healthcheck", {"Test": ["CMD-SHELL", "a  b"], "Interval": 60_500_000_000, "Retries": 3,
                         "StartPeriod": 7_200_000_000_000, "StartInterval": 10_000_000}),
        ("ONBUILD run a \\\n b", "OnBuild", ["run a  b"]),
        ("ONBUILD COPY <<-X /y\n\ta\n\tX", "OnBuild", ["COPY <<-X /y\na\nX"]),
    ],
)  # fmt: skip
def test_configuration(text: str, key: str, expected: Json) -> None:
    assert after(text, base=base_of(INHERITED)).config.get(key) == expected


def test_a_run() -> None:
    text = "USER me\nWORKDIR /w\nENV A=1\nARG B=2\nRUN --network=none --mount=type=cache,dst=c$A,sharing=shared x $A"
    assert run_of(after(text)) == Run(
        argv=("/bin/sh", "-c", "x $A"),
        env={"PATH": PATH, "A": "1", "B": "2"},
        user="me",
        workdir="/w",
        network="none",
        caches=("/w/c1",),
        title="RUN --network=none --mount=type=cache,dst=c$A,sharing=shared x $A",
        at="f:6",
    )


@pytest.mark.parametrize(
    ("text", "argv", "title"),
    [
        ('RUN ["a", "$B"]', ("a", "$B"), 'RUN ["a", "$B"]'),
        ('SHELL ["/bin/bash", "-c"]\nRUN a \\\n  && b', ("/bin/bash", "-c", "a   && b"), "RUN a && b"),
        ("RUN <<EOF\na\nb $C\nEOF", ("/bin/sh", "-c", "a\nb $C\n"), "RUN <<EOF (a...)"),
        ("RUN <<-'EOF'\n\ta\n\tEOF", ("/bin/sh", "-c", "a\n"), "RUN <<-'EOF' (a)"),
        ("RUN cat <<A > /x && b\n$C\nA", ("/bin/sh", "-c", "cat <<A > /x && b\n$C\nA"), "RUN cat <<A > /x && b"),
        ("RUN cat <<A <<'B'\na\nA\nb\nB", ("/bin/sh", "-c", "cat <<A <<'B'\na\nA\nb\nB"), "RUN cat <<A <<'B'"),
        ("RUN <<EOF\n#!/usr/bin/env python3\nprint(1)\nEOF",
         ("/bin/sh", "-c", "exec '/usr/bin/env' 'python3' /dev/fd/9 9<<'EOF'\n#!/usr/bin/env python3\nprint(1)\nEOF\n"),
         "RUN <<EOF (#!/usr/bin/env python3...)"),
        ("RUN <<X\n#!/bin/sh -e\ncat <<EOF\nEOF\nX",
         ("/bin/sh", "-c", "exec '/bin/sh' '-e' /dev/fd/9 9<<'EOF_'\n#!/bin/sh -e\ncat <<EOF\nEOF\nEOF_\n"),
         "RUN <<X (#!/bin/sh -e...)"),
    ],
)  # fmt: skip
def test_commands(text: str, argv: tuple[str, ...], title: str) -> None:
    found = run_of(after(text))
    assert (found.argv, found.title) == (argv, title)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ARG A\nRUN x", None),
        ("ARG A=1\nRUN x", "1"),
        ("ARG A=1\nENV A=2\nRUN x", "2"),
        ("ENV A=2\nARG A=1\nRUN x", "1"),
        ("ENV A=2\nARG A\nRUN x", "2"),
        ("ARG B=1 A=$B\nRUN x", "1"),
        ("ARG A=1\nARG A\nRUN x", "1"),
        ("ARG A=${GLOBAL:-none}\nRUN x", "none"),
        ("ARG TARGETPLATFORM\nENV A=$TARGETPLATFORM\nRUN x", "linux/arm/v7"),
        ("ARG TARGETVARIANT BUILDARCH\nENV A=$TARGETVARIANT-$BUILDARCH\nRUN x", "v7-amd64"),
        ("ENV A=$TARGETARCH\nRUN x", ""),
        ("ARG TARGETARCH=mine\nENV A=$TARGETARCH\nRUN x", "mine"),
    ],
)
def test_arguments_in_a_stage(text: str, expected: str | None) -> None:
    assert run_of(after(text)).env.get("A") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ARG G=1\nFROM image\nRUN x", None),
        ("ARG G=1\nFROM image\nARG G\nRUN x", "1"),
        ("ARG G=1\nFROM image\nARG G=2\nRUN x", "2"),
        ("ARG F=1\nARG G=$F-$TARGETARCH\nFROM image\nARG G\nRUN x", "1-arm"),
        ("FROM image AS a\nARG G=3\nFROM a\nRUN x", "3"),
        ("FROM image AS a\nARG G=3\nFROM image\nRUN x", None),
        ("FROM image AS a\nENV G=2\nARG G=3\nFROM a\nRUN x", "2"),
    ],
)
def test_arguments_of_the_file(text: str, expected: str | None) -> None:
    assert run_of(built(text)).env.get("G") == expected


def test_given_arguments_come_first() -> None:
    given = {"A": "given", "TARGETARCH": "mine", "http_proxy": "p", "UNKNOWN": "", "G": "given"}
    text = "ARG G=1\nFROM image\nARG A=1\nARG TARGETARCH\nENV E=$http_proxy\nRUN x"
    assert run_of(built(text, given)).env == {
        "PATH": PATH, "A": "given", "TARGETARCH": "mine", "E": "", "HTTP_PROXY": "p", "http_proxy": "p",
    }  # fmt: skip
    assert "given" not in str(built(text, given).config)


def test_arguments_that_nothing_declares() -> None:
    file = parse("ARG A\nFROM image\nARG B=1 C\nONBUILD ARG D\n", file="f")
    given = dict.fromkeys(["A", "B", "C", "D", "E", "F", "no_proxy", "BUILDOS"], "")
    triggered = after("", given, base=base_of({"OnBuild": ["ARG F"]}))
    assert unused_arguments(file, given) == ("E", "F")
    assert unused_arguments(file, given, [triggered]) == ("E",)


def test_bases_and_platforms_are_expanded() -> None:
    text = "ARG V=1\nARG NAME=img:${V}\nFROM --platform=$BUILDPLATFORM $NAME\nFROM ${NAME%:*}"
    file, arguments = with_arguments(parse(text, file="f"), {"V": "2"}, target=TARGET, build=BUILD)
    assert [(one.base, one.platform) for one in file.stages] == [("img:2", "linux/amd64"), ("img", None)]
    assert (arguments["V"], arguments["NAME"], arguments["TARGETOS"]) == ("2", "img:2", "linux")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FROM $X", "f:1: the base `$X` is empty once its variables are expanded"),
        ("FROM ${X", "f:1: `}` is missing in `${...}`"),
        ("ARG A='\nFROM x", "f:1: a `'` is not ended"),
        ("FROM --platform=windows x",
         "f:1: not a platform: 'windows' (write os/architecture[/variant], such as linux/amd64)"),
    ],
)  # fmt: skip
def test_bases_that_cannot_be(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        built(text)
    assert str(caught.value) == message


def test_a_copy() -> None:
    text = "WORKDIR /w\nENV D=dir U=me\nCOPY --from=other --chown=$U:1 --chmod=0755 /a/./b/ ../c* $D/"
    assert copy_of(text) == Copy(
        origin="other",
        sources=("a/b", "c*"),
        heredocs=(),
        destination="/w/dir/",
        chown="me:1",
        chmod=0o755,
        is_unpacking=False,
        title="COPY --from=other --chown=$U:1 --chmod=0755 /a/./b/ ../c* $D/",
        at="f:4",
    )


@pytest.mark.parametrize(
    ("text", "sources", "destination"),
    [
        ("COPY . .", (".",), "/"),
        ("COPY / /x", (".",), "/x"),
        ("WORKDIR /w\nCOPY a .", ("a",), "/w/"),
        ("WORKDIR /w\nCOPY a ./", ("a",), "/w/"),
        ("WORKDIR /w\nCOPY a b", ("a",), "/w/b"),
        ("WORKDIR /w\nCOPY a ..", ("a",), "/"),
        ("WORKDIR /w\nCOPY a /x/.", ("a",), "/x/"),
        ("WORKDIR /w\nCOPY a $NOTHING", ("a",), "/w/"),
        ("COPY a b /c", ("a", "b"), "/c/"),
        ('COPY ["a b", "/c d"]', ("a b",), "/c d"),
        ("ENV S='a b'\nCOPY $S /c", ("a b",), "/c"),
        (r"COPY a[[]0].txt \\* /c", ("a[[]0].txt", r"\*"), "/c/"),
    ],
)
def test_sources_and_destination(text: str, sources: tuple[str, ...], destination: str) -> None:
    found = copy_of(text)
    assert (found.sources, found.destination) == (sources, destination)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("COPY a b", False), ("ADD a b", True), ("ADD --unpack=false a b", False), ("ADD --link --unpack a b", True)],
)
def test_only_add_unpacks(text: str, *, expected: bool) -> None:
    assert copy_of(text).is_unpacking == expected


def test_heredocs_that_are_files() -> None:
    text = "ENV V=1\nCOPY x <<a.txt <<'b' <<-c /etc\n$V it's \\$V\na.txt\n$V\nb\n\t\t${V}\n\tc\n"
    found = copy_of(text)
    assert found.heredocs == (("a.txt", "1 it's $V\n"), ("b", "$V\n"), ("c", "1\n"))
    assert (found.sources, found.destination, found.chmod) == (("x",), "/etc/", None)


def test_workdir_makes_a_directory_of_the_user() -> None:
    made = copy_of("USER me:us\nWORKDIR x/y")
    assert (made.sources, made.heredocs, made.destination, made.chown) == ((), (), "/x/y/", "me:us")
    assert after("WORKDIR /").operations == ()


def test_history_says_which_instruction_made_a_layer() -> None:
    text = "ARG A=1\nWORKDIR /x\nRUN --network=none  a\\\n  b\nWORKDIR /\nCOPY a b\nMAINTAINER me\n"
    assert after(text).history == (
        ("ARG A=1", True),
        ("WORKDIR /x", False),
        ("RUN --network=none a b", False),
        ("WORKDIR /", True),
        ("COPY a b", False),
        ("MAINTAINER me", True),
    )


def test_what_a_stage_hands_on() -> None:
    first = "FROM image AS a\nMAINTAINER me\nCMD x\nARG A=1\nONBUILD ENV FROM_A=$A\nONBUILD RUN <<E\nb\nE\n"
    found = built(f"{first}FROM a\nENTRYPOINT y")
    assert found.result.author == "me"
    assert run_of(found).argv == ("/bin/sh", "-c", "b\n")
    assert run_of(found).at == "f:9"
    assert found.config == {
        "Env": [f"PATH={PATH}", "FROM_A=1"],
        "WorkingDir": "/",
        "Entrypoint": ["/bin/sh", "-c", "y"],
    }
    assert [text for text, _ in found.history] == ["ENV FROM_A=$A", "RUN <<E (b)", "ENTRYPOINT y"]


@pytest.mark.parametrize(
    ("trigger", "message"),
    [
        ("FROM x", "f:1: the base keeps `ONBUILD FROM x`: not one instruction that may be kept"),
        ("RUN a\nRUN b", "f:1: the base keeps `ONBUILD RUN a RUN b`: not one instruction that may be kept"),
        ("RNU a", "f:1: the base keeps `ONBUILD RNU a`: unknown instruction `RNU`; did you mean `RUN`?"),
        ("ADD git://x /",
         "f:1: the base keeps `ONBUILD ADD git://x /`: ADD of a URL or a git repository is not supported: git://x"),
    ],
)  # fmt: skip
def test_what_a_base_keeps_must_be_supported(trigger: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        after("", base=base_of({"OnBuild": [trigger]}))
    assert str(caught.value) == message
    assert caught.value.where == "f:1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("COPY $X /y", "f:2: the source `$X` is empty once its variables are expanded"),
        ("COPY 'a b' /y", "f:2: a `'` is not ended"),
        ("ENV U=https://x\nADD $U /y", "f:3: ADD of a URL or a git repository is not supported: https://x"),
        ("ENV M=u+x\nCOPY --chmod=$M a b", "f:3: `--chmod` needs an octal number up to 7777, not `u+x`"),
        ("COPY <<E /x\n${A:?say}\nE", "f:2: in the heredoc `E`: A: say"),
        ("WORKDIR $X", "f:2: the path of WORKDIR is empty once its variables are expanded"),
        ("RUN --mount=type=cache,target=$X y", "f:2: `--mount=type=cache` needs `target=PATH`"),
        ("RUN --mount=type=cache,target=/ y", "f:2: a cache cannot be mounted at `/`"),
        ("RUN <<E\n#!/usr/bin/node\n1\nE", "f:2: a heredoc that begins with `#!/usr/bin/node` is not supported"),
        ('SHELL ["pwsh"]\nRUN <<E\n#!/bin/sh\nE', "f:3: a heredoc that begins with `#!/bin/sh` is not supported"),
        ("EXPOSE http", "f:2: `http` is not a port"),
        ("EXPOSE 2-1", "f:2: `2-1` is not a port"),
        ("EXPOSE 65536", "f:2: `65536` is not a port"),
        ("EXPOSE 127.0.0.1:80:80", "f:2: `127.0.0.1:80:80` is not a port"),
        ("VOLUME []", "f:2: VOLUME needs paths, none of them empty"),
        ('VOLUME ["$X"]', "f:2: VOLUME needs paths, none of them empty"),
        ("STOPSIGNAL TERMINATE", "f:2: `TERMINATE` is not a signal"),
        ("STOPSIGNAL 0", "f:2: `0` is not a signal"),
        ("ENV $X=1", "f:2: the name `$X` is empty once it is expanded"),
        ("ENV A='b=c'\nENV $A=1", "f:3: `b=c` cannot be a variable's name"),
    ],
)  # fmt: skip
def test_what_shows_only_with_values(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        after(text)
    assert str(caught.value) == message
