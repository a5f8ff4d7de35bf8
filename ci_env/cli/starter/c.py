"""A job for a C or C++ project, by its build system."""

from __future__ import annotations

import re

from ci_env.cli.starter.project import Project
from ci_env.cli.starter.recipe import Job, Step

_IMAGE = "debian:12"


def c_job(project: Project) -> Job | None:
    """Return the job; None where there is no build system of C's."""
    if project.has("CMakeLists.txt"):
        return _cmake()
    if project.has("meson.build"):
        return _meson()
    if project.has("configure", "configure.ac"):
        return _autotools(project)
    makefiles = project.present("GNUmakefile", "Makefile", "makefile")
    return _make(project.text(makefiles[0])) if makefiles and _has_c(project) else None


def _cmake() -> Job:
    build = "cmake -S . -B build -G Ninja\ncmake --build build"
    run = "ctest --test-dir build --output-on-failure --output-junit report.xml"
    test = Step("test", run, junit=("build/report.xml",))
    return Job("c", _IMAGE, (_deps("cmake", "ninja-build"), Step("build", build), test))


def _meson() -> Job:
    build = "meson setup build\nmeson compile -C build"
    test = Step("test", "meson test -C build --print-errorlogs", junit=("build/meson-logs/testlog.junit.xml",))
    return Job("c", _IMAGE, (_deps("meson", "ninja-build"), Step("build", build), test))


def _autotools(project: Project) -> Job:
    is_generated = not project.has("configure")
    packages = ("autoconf", "automake", "libtool", "pkg-config") if is_generated else ()
    prepare = "autoreconf --install\n" if is_generated else ""
    build = Step("build", f'{prepare}./configure\nmake -j"$(nproc)"')
    return Job("c", _IMAGE, (_deps(*packages), build, Step("test", "make check")))


def _make(makefile: str) -> Job:
    target = re.search(r"^(check|test)\s*:(?!=)", makefile, re.MULTILINE)
    test = (Step("test", f"make {target[1]}"),) if target else ()
    return Job("c", _IMAGE, (_deps(), Step("build", 'make -j"$(nproc)"'), *test))


def _deps(*packages: str) -> Step:
    names = " ".join(("build-essential", *packages))
    run = f"apt-get update\napt-get install -y --no-install-recommends {names}"
    comment = "Sees no file of the project, so it stays cached. Add the libraries you need."
    return Step("deps", run, comment, downloads=True, inputs=())


def _has_c(project: Project) -> bool:
    """Tell whether a Makefile is likely to build C: many projects in other languages have one too."""
    suffixes = ("c", "cc", "cpp", "cxx")
    return any(project.named(f"{folder}*.{suffix}") for folder in ("", "src/", "lib/") for suffix in suffixes)
