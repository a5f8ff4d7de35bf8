"""What `ci-env image build` takes of its context, by every account, and when it takes it again."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from tests.dockerfile_project import (
    built,
    prepared,
    refused,
    view,
)
from tests.installed import CiEnv
from tests.project import Project


@pytest.fixture
def made(actor: CiEnv) -> Project:
    return prepared(actor)


def test_only_what_a_copy_names_counts(made: Project) -> None:
    built(made)
    made.put("other", "changed\n")
    assert set(built(made).steps.values()) == {"cached"}
    made.put("src/main", "changed\n")
    steps = built(made).steps
    assert list(steps.values()) == ["cached", "passed", "passed"]


def test_ignored_files(made: Project, tmp_path: Path) -> None:
    made.put("Copying", "FROM scratch\nCOPY . /\n")
    made.put(".dockerignore", "src\n!src/sub\n.git\n**/*.yml\nDockerfile\nCopying\n.dockerignore\n")
    built(made, "-f", "Copying", "-t", "team/app:1")
    assert view(made, "team/app:1", tmp_path).keys() == {".", "other", "src", "src/sub", "src/sub/deep"}
    made.put("Copying.dockerignore", "*\n!other\n")
    built(made, "-f", "Copying", "-t", "team/app:2")
    assert view(made, "team/app:2", tmp_path).keys() == {".", "other"}


@pytest.mark.parametrize("kind", ["fifo", "dangling", "directory"])
def test_what_says_what_is_ignored_is_a_file(made: Project, kind: str) -> None:
    path = made.root / ".dockerignore"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "dangling":
        path.symlink_to("nowhere")
    else:
        path.mkdir()
    assert ".dockerignore is no file" in refused(made).err


def test_what_cannot_be_read_counts_only_where_it_is_named(made: Project) -> None:
    made.put("closed/x", "x")
    (made.root / "closed").chmod(0)
    is_root = made.ci_env.account.who == "root"
    made.put("Copying", "FROM scratch\nCOPY src /\n")
    built(made, "-f", "Copying")
    made.put("Copying", "FROM scratch\nCOPY . /\n")
    called = made.call("image", "build", "--offline", "-f", "Copying")
    assert called.code == (0 if is_root else 2), called.err
    assert is_root or "cannot read ./closed, which is part of the build's context" in called.err


def test_an_archive_is_unpacked(made: Project, tmp_path: Path) -> None:
    with tarfile.open(made.root / "files.tgz", "w:gz") as archive:
        archive.add(made.root / "src", "packed", filter=lambda info: info.replace(uid=0, gid=0, mtime=7, deep=False))
    made.put("Dockerfile", "FROM scratch\nADD files.tgz /opt/\nCOPY files.tgz /opt/kept\n")
    built(made, "-t", "team/app:1")
    found = view(made, "team/app:1", tmp_path)
    assert found["opt/packed/sub/deep"].content == "deep\n"
    assert found["opt/packed/main"].mtime_ns == 7 * 10**9
    assert found["opt/kept"].kind == "-"


@pytest.mark.parametrize(
    ("change", "expected"), [("time", "cached"), ("owner", "cached"), ("mode", "passed"), ("content", "passed")]
)
def test_what_makes_a_copy_anew(made: Project, change: str, expected: str) -> None:
    made.put("Dockerfile", "FROM team/base:1\nRUN id\nCOPY src/main /main\nRUN cat /main\n")
    built(made)
    main = made.root / "src/main"
    if change == "time":
        os.utime(main, (1, 1))
    elif change == "owner" and os.geteuid() == 0:
        os.chown(main, made.ci_env.account.uid, 12345)
    elif change == "mode":
        main.chmod(0o755)
    elif change == "content":
        made.put("src/main", "other\n")
    assert list(built(made).steps.values()) == ["cached", expected, expected]


def test_a_build_argument_counts_from_its_arg_on(made: Project) -> None:
    made.put("Dockerfile", "FROM team/base:1\nRUN id\nCOPY other /other\nARG WHO=a\nRUN echo $WHO\nCOPY src /src\n")
    assert built(made).lines("RUN echo $WHO") == ["a"]
    again = built(made, "--build-arg", "WHO=b")
    assert list(again.steps.values()) == ["cached", "cached", "passed", "passed"]
    assert again.lines("RUN echo $WHO") == ["b"]
    assert set(built(made).steps.values()) == {"cached"}


def test_no_link_leads_out(made: Project, tmp_path: Path) -> None:
    secret = made.ci_env.home / "secret"
    secret.write_text("secret\n")
    (made.root / "up").symlink_to("../secret")
    (made.root / "whole").symlink_to(secret)
    (made.root / "tree").symlink_to("..")
    made.put(
        "Dockerfile",
        f"""
        FROM team/base:1 AS links
        RUN mkdir /l && ln -s {secret} /l/whole && ln -s ../../../../../..{made.ci_env.home} /l/tree
        FROM scratch
        COPY . /all/
        COPY tree/other /other
        COPY --from=links /l /links
        """,
    )
    built(made, "-t", "team/app:1")
    found = view(made, "team/app:1", tmp_path)
    assert [found[f"all/{name}"].kind for name in ("up", "whole", "tree")] == ["l", "l", "l"]
    assert {name for name in found if name.startswith("links/")} == {"links/whole", "links/tree"}
    assert found["other"].content == "other\n"
    assert not [name for name, node in found.items() if node.content == "secret\n"]
    for source in ("up", "whole", "tree/secret", "../secret"):
        made.put("Dockerfile", f"FROM scratch\nCOPY {source} /x\n")
        assert "there is no" in refused(made).err
    for source in ("/l/whole", "/l/tree/secret"):
        made.put(
            "Dockerfile", f"FROM team/base:1 AS links\nRUN ln -s {secret} /l\nFROM scratch\nCOPY --from=0 {source} /x"
        )
        built(made, code=1)


def test_no_heredoc_is_a_path(made: Project) -> None:
    name = f"../../../../../../../../..{made.ci_env.home}/escaped"
    made.put("Dockerfile", f"FROM scratch\nCOPY <<{name} /\nx\n{name}\n")
    assert "Dockerfile:2: the heredoc" in refused(made).err
    assert not (made.ci_env.home / "escaped").exists()
