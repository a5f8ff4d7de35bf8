"""The operations of RUN, COPY, ADD and WORKDIR: decides, from a stage's state, what is to be done. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ci_env.dockerfile import forms
from ci_env.dockerfile.arguments import expand_at
from ci_env.dockerfile.lines import heredoc_start
from ci_env.dockerfile.model import Base, Copy, Heredoc, Instruction, Run
from ci_env.dockerfile.mounts import read_cache, read_network
from ci_env.dockerfile.words import WordError, expand_document
from ci_env.errors import ConfigError

_DEFAULT_SHELL = ("/bin/sh", "-c")
_POSIX_SHELLS = frozenset({"ash", "bash", "dash", "ksh", "sh", "zsh"})
_SHEBANG = re.compile(r"#![ \t]*(?P<program>/[^ \t\r\n]*)[ \t]*(?P<argument>[^\r\n]*)")
_READERS = re.compile(r"ash|bash|dash|ksh|sh|zsh|(python|perl|ruby)[0-9.]*")


def variables(state: Base) -> Mapping[str, str]:
    """Return what `$NAME` means: ENV, and the ARGs that are not hidden by a later ENV."""
    return {**state.env, **state.arguments}


def shell_argv(state: Base, line: str) -> tuple[str, ...]:
    """Return the argv of a line that is for the stage's shell."""
    return (*(state.shell or _DEFAULT_SHELL), line)


def title_of(instruction: Instruction) -> str:
    """Return the instruction on one line; of a heredoc that is all there is, with its first line."""
    flags = (f"--{name}={value}" if value else f"--{name}" for name, value in instruction.flags)
    title = " ".join((instruction.keyword, *flags, *instruction.text.split()))
    lines = instruction.heredocs[0].text.strip().splitlines() if instruction.heredocs else []
    if not lines or instruction.keyword != "RUN" or heredoc_start(instruction.text) is None:
        return title
    return f"{title} ({lines[0]}{'...' if len(lines) > 1 else ''})"


def run_of(instruction: Instruction, state: Base, *, proxies: Mapping[str, str], escape: str) -> Run:
    """Return what RUN says."""
    env, at = variables(state), instruction.at
    command = forms.read_command(instruction)
    mounts = forms.read_flags(instruction).get("mount", ())

    def expanded(word: str) -> str:
        return expand_at(word, env, escape=escape, at=at)

    return Run(
        argv=_shell_command(instruction, state) if command.argv is None else command.argv,
        env={**proxies, **env},
        user=state.user,
        workdir=state.workdir or "/",
        network=read_network(instruction),
        caches=tuple(_cache(read_cache(mount, instruction, expanded), state, at) for mount in mounts),
        title=title_of(instruction),
        at=at,
    )


def _cache(target: str, state: Base, at: str) -> str:
    path = absolute(state.workdir, target)
    if path == "/":
        raise ConfigError("a cache cannot be mounted at `/`", where=at)
    return path


def _shell_command(instruction: Instruction, state: Base) -> tuple[str, ...]:
    """Return the argv for a line and its heredocs: the shell reads them, or is given one that is all there is."""
    line, heredocs = instruction.text, instruction.heredocs
    if not heredocs:
        return shell_argv(state, line)
    if heredoc_start(line) is None:
        return shell_argv(state, "\n".join((line, *(f"{heredoc.text}{heredoc.name}" for heredoc in heredocs))))
    if heredocs[0].text.startswith("#!"):
        return shell_argv(state, _script(instruction, heredocs[0].text, state))
    return shell_argv(state, heredocs[0].text)


def _script(instruction: Instruction, text: str, state: Base) -> str:
    """Return a line that runs a script by the interpreter that it names.

    docker makes a file of it for as long as it runs. Here the shell passes it on as an open file, by a heredoc of its
    own; that works for interpreters that read a script from start to end, once.
    """
    shell = (state.shell or _DEFAULT_SHELL)[0].rpartition("/")[2]
    match = _SHEBANG.match(text)
    if match is None or shell not in _POSIX_SHELLS or not _READERS.fullmatch(_interpreter(match)):
        first = text.partition("\n")[0].rstrip()
        raise ConfigError(
            f"a heredoc that begins with `{first[:60]}` is not supported",
            where=instruction.at,
            hint="COPY the heredoc to a file and RUN that, or write `RUN interpreter <<EOF`",
        )
    argument = match["argument"].rstrip(" \t")
    words = " ".join(_quoted(word) for word in (match["program"], argument) if word)
    end = "EOF"
    while end in text.splitlines():
        end += "_"
    return f"exec {words} /dev/fd/9 9<<'{end}'\n{text}{end}\n"


def _interpreter(match: re.Match[str]) -> str:
    """Return the name of the program that reads the script: `env` only looks for it."""
    name = match["program"].rpartition("/")[2]
    if name != "env":
        return name
    return next((word for word in match["argument"].split() if not word.startswith("-")), "")


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


def copy_of(instruction: Instruction, state: Base, *, escape: str) -> Copy:
    """Return what COPY or ADD says."""
    env, at = variables(state), instruction.at
    flags = forms.read_flags(instruction)
    transfer = forms.read_transfer(instruction)

    def expanded(word: str) -> str:
        return expand_at(word, env, escape=escape, at=at)

    sources = tuple(_source(word, expanded(word), instruction) for word in transfer.sources)
    heredocs = tuple((heredoc.name, _document(heredoc, env, at)) for heredoc in transfer.heredocs)
    mode = expanded(flags["chmod"][0]) if "chmod" in flags else ""
    return Copy(
        origin=flags["from"][0] if "from" in flags else None,
        sources=sources,
        heredocs=heredocs,
        destination=_destination(expanded(transfer.destination), state, is_several=len(sources) + len(heredocs) > 1),
        chown=expanded(flags["chown"][0]) or None if "chown" in flags else None,
        chmod=forms.read_mode(mode, instruction) if mode else None,
        is_unpacking=instruction.keyword == "ADD" and forms.read_switch(flags, "unpack", default=True),
        title=title_of(instruction),
        at=at,
    )


def directory_of(instruction: Instruction, state: Base) -> Copy:
    """Return the making of the work directory, if it is not there; it belongs to the stage's user."""
    return Copy(
        origin=None,
        sources=(),
        heredocs=(),
        destination=state.workdir.rstrip("/") + "/",
        chown=state.user or None,
        chmod=None,
        is_unpacking=False,
        title=title_of(instruction),
        at=instruction.at,
    )


def absolute(workdir: str, path: str) -> str:
    """Return the path seen from `workdir`, with `.` and `..` worked out; `..` stays in the root."""
    return "/" + "/".join(_names(path if path.startswith("/") else f"{workdir}/{path}"))


def _source(word: str, path: str, instruction: Instruction) -> str:
    if not path:
        raise ConfigError(f"the source `{word[:80]}` is empty once its variables are expanded", where=instruction.at)
    forms.check_local(path, instruction)
    return "/".join(_names(path)) or "."


def _destination(path: str, state: Base, *, is_several: bool) -> str:
    found = absolute(state.workdir, path)
    is_directory = is_several or path in {"", "."} or path.endswith(("/", "/."))
    return f"{found}/" if is_directory and found != "/" else found


def _names(path: str) -> list[str]:
    names: list[str] = []
    for name in path.split("/"):
        if name == "..":
            del names[-1:]
        elif name not in {"", "."}:
            names.append(name)
    return names


def _document(heredoc: Heredoc, env: Mapping[str, str], at: str) -> str:
    if not heredoc.is_expanded:
        return heredoc.text
    try:
        return expand_document(heredoc.text, env)
    except WordError as error:
        raise ConfigError(f"in the heredoc `{heredoc.name[:40]}`: {error}", where=at) from error
