"""A job for a Rust project."""

from __future__ import annotations

from ci_env.cli.starter.project import Project
from ci_env.cli.starter.recipe import Job, Step

_TARGETS = {"workspace", "lib", "bin", "example", "test", "bench"}


def rust_job(project: Project) -> Job | None:
    """Return the job; None where there is no Rust project."""
    if not project.has("Cargo.toml"):
        return None
    locked = " --locked" if project.has("Cargo.lock") else ""
    build = Step("build", f"cargo build --offline{locked} --all-targets")
    return Job("rust", "rust:1", (_deps(project, locked), build, Step("test", f"cargo test --offline{locked}")))


def _deps(project: Project, locked: str) -> Step:
    """Return the step that fetches the crates, which become part of its result."""
    fetch = f"cargo fetch{locked}"
    if not _is_plain(project):
        return Step(
            "deps", fetch, "Crates become part of its result, so the steps below need no network.", downloads=True
        )
    comment = (
        "Sees only these files, so it stays cached until one of them changes; cargo wants to see some source, too.\n"
        "Crates become part of its result, so the steps below need no network."
    )
    run = f"mkdir src\n: > src/lib.rs\n{fetch}\nrm -r src"
    inputs = ("Cargo.toml", *project.present("Cargo.lock", "rust-toolchain.toml", ".cargo/"))
    return Step("deps", run, comment, downloads=True, inputs=inputs)


def _is_plain(project: Project) -> bool:
    """Tell whether cargo can understand the manifest with an empty library in place of the sources."""
    manifest = project.toml("Cargo.toml")
    return "package" in manifest and not _TARGETS & manifest.keys() and "path" not in project.text("Cargo.toml")
