"""A job for a Node project."""

from __future__ import annotations

from ci_env.cli.starter.project import Project, table
from ci_env.cli.starter.recipe import Job, Step
from ci_env.frozen import dataclass

_SCRIPTS = ("lint", "build", "test")
_NO_TEST = 'echo "Error: no test specified" && exit 1'
"""what `npm init` writes"""


@dataclass(frozen=True, slots=True)
class _PackageManager:
    program: str
    install: str
    files: tuple[str, ...]
    """that decide what is installed, beside package.json; the lock file first"""
    cache: str


_NPM = _PackageManager("npm", "npm ci", ("package-lock.json", "npm-shrinkwrap.json", ".npmrc"), "/root/.npm")
_UNLOCKED = _PackageManager("npm", "npm install", (".npmrc",), "/root/.npm")
_YARN = _PackageManager(
    "yarn", "yarn install --frozen-lockfile", ("yarn.lock", ".npmrc", ".yarnrc"), "/usr/local/share/.cache/yarn"
)
_BERRY = _PackageManager(
    "yarn",
    "corepack enable\nyarn install --immutable",
    ("yarn.lock", ".yarnrc.yml", ".npmrc", ".yarn/releases/", ".yarn/plugins/", ".yarn/patches/"),
    "/root/.yarn/berry/cache",
)
_PNPM = _PackageManager(
    "pnpm",
    "corepack enable\npnpm install --frozen-lockfile",
    ("pnpm-lock.yaml", "pnpm-workspace.yaml", ".npmrc", "patches/"),
    "/root/.local/share/pnpm/store",
)


def node_job(project: Project) -> Job | None:
    """Return the job; None where there is no Node project."""
    if not project.has("package.json"):
        return None
    manager = _package_manager(project)
    scripts = table(project.json("package.json").get("scripts"))
    names = [name for name in _SCRIPTS if name in scripts and scripts[name] != _NO_TEST]
    steps = [Step(name, f"{manager.program} run {name}") for name in names]
    return Job("node", "node:22-slim", (_install(project, manager), *(steps or [_check(project)])))


def _package_manager(project: Project) -> _PackageManager:
    if project.has("pnpm-lock.yaml"):
        return _PNPM
    if project.has("yarn.lock"):
        return _BERRY if project.has(".yarnrc.yml") else _YARN
    return _NPM if project.has("package-lock.json", "npm-shrinkwrap.json") else _UNLOCKED


def _install(project: Project, manager: _PackageManager) -> Step:
    has_workspaces = "workspaces" in project.json("package.json") or project.has("pnpm-workspace.yaml")
    manifests = "**/package.json" if has_workspaces else "package.json"
    inputs = (manifests, *project.present(*manager.files))
    comment = "Sees only these files, so it stays cached until one of them changes."
    if manager is _UNLOCKED:
        comment += "\nWithout a lock file, what it installs depends on the day: commit package-lock.json."
    return Step("deps", manager.install, comment, downloads=True, inputs=inputs, caches=(manager.cache,))


def _check(project: Project) -> Step:
    main = project.json("package.json").get("main")
    comment = "package.json has no test script yet; write one and run it here."
    if isinstance(main, str) and main.endswith((".js", ".cjs", ".mjs")) and project.has(main) and "'" not in main:
        return Step("check", f"node --check '{main}'", comment)
    return Step("check", "node --version", comment)
