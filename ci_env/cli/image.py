"""`ci-env image`: the images in the store. Builds, brings, writes them elsewhere, lists, shows and forgets them."""

from __future__ import annotations

import argparse
import importlib
import os
from typing import Protocol, cast

from ci_env.cli.platform import add_argument as add_platform

_MODULES = {
    "ls": "listing",
    "inspect": "listing",
    "rm": "listing",
    "pull": "bringing",
    "import": "bringing",
    "export": "writing",
    "push": "writing",
    "build": "building",
}
_PLACES = "oci:DIR[:TAG], oci-archive:FILE[:TAG] or docker-archive:FILE[:NAME]"
_IMAGE = "an image's name as `ls` shows it, or the beginning of its digest"


class _Module(Protocol):
    def run(self, arguments: argparse.Namespace) -> int | None: ...


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="|".join(_MODULES))
    listing = actions.add_parser("ls", help="list images", description="List the images in the store, by name.")
    listing.add_argument("--json", action="store_true", help="one JSON object for each image")
    shown = actions.add_parser("inspect", help="show an image", description="Show an image: its config and its layers.")
    shown.add_argument("image", metavar="IMAGE", help=_IMAGE)
    shown.add_argument("--json", action="store_true", help="as JSON, with the whole config")
    removed = actions.add_parser(
        "rm", help="forget names", description="Forget names of images. `ci-env prune` removes layers that nobody uses."
    )
    removed.add_argument("images", metavar="IMAGE", nargs="+", help=_IMAGE)
    pulled = actions.add_parser(
        "pull", help="pull from registries", description="Ask registries what names mean now, and pull what is missing."
    )
    pulled.add_argument("images", metavar="REF", nargs="+", help="such as debian:12 or ghcr.io/team/app@sha256:...")
    imported = actions.add_parser(
        "import",
        help="read a layout or an archive",
        description="Read an image from a layout or an archive, so that pipelines can use it by its name.",
    )
    imported.add_argument("source", metavar="SOURCE", help=_PLACES)
    named = "what `image:` is to call it (default: its name in a docker archive, else SOURCE)"
    imported.add_argument("name", metavar="NAME", nargs="?", help=named)
    exported = actions.add_parser(
        "export",
        help="write a layout or an archive",
        description="Write an image of the store to a layout or an archive, for docker, podman, skopeo and others.",
    )
    exported.add_argument("image", metavar="IMAGE", help=_IMAGE)
    exported.add_argument("target", metavar="TARGET", help=_PLACES)
    pushed = actions.add_parser(
        "push", help="push to a registry", description="Push an image of the store to a registry, and print its digest."
    )
    pushed.add_argument("image", metavar="IMAGE", help=_IMAGE)
    pushed.add_argument("target", metavar="REF", nargs="?", help="what to call it there (default: IMAGE)")
    built = actions.add_parser(
        "build",
        help="build from a Dockerfile",
        description="Build an image from a Dockerfile, step by step, with the cache and the records of `ci-env run`.",
    )
    _add_build_arguments(built)
    for action in (pulled, imported, built):
        add_platform(action)
    for action in (exported, pushed):
        forms = "of layers that are packed again (default: gzip)"
        action.add_argument("--compression", choices=("gzip", "zstd"), help=forms)
    formats = ("auto", "rich", "plain", "json")
    for action in (pulled, imported, exported, pushed, built):
        action.add_argument("--format", choices=formats, default="auto", help="how to show progress (default: auto)")


def _add_build_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "context", metavar="CONTEXT", nargs="?", default=".", help="directory to copy from (default: .)"
    )
    parser.add_argument("-f", "--file", metavar="FILE", help="the Dockerfile (default: CONTEXT/Dockerfile)")
    parser.add_argument("-t", "--tag", metavar="NAME", help="what `image:` is to call it (default: its path)")
    parser.add_argument("--target", metavar="STAGE", help="build this stage (default: the last)")
    parser.add_argument(
        "--build-arg", metavar="NAME=VALUE", action="append", type=_assignment, default=[], help="value of an ARG"
    )
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--no-cache", action="store_true", help="run every step, whatever earlier builds have left")
    ways.add_argument("--explain", action="store_true", help="build nothing; say what each step would do, and why")
    parser.add_argument("--offline", action="store_true", help="ask no registry; base images must be in the store")
    parser.add_argument("--pull", action="store_true", help="ask registries what tags mean now")
    networks = "of a RUN that does not say (default: host)"
    parser.add_argument("--network", choices=("none", "host"), default="host", help=f"the network {networks}")


def _assignment(text: str) -> tuple[str, str | None]:
    """Return a build argument; one without a value has that of the environment's variable, if any, as in docker."""
    name, is_given, value = text.partition("=")
    if not name:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, found {text!r}")
    found = value if is_given else os.environ.get(name)
    try:
        f"{name}={found}".encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f"the build argument {name!r} is not UTF-8") from None
    return name, found


def run(arguments: argparse.Namespace) -> int:
    """Do what is asked for; 1 where a step of a build has failed."""
    name = f"ci_env.cli.images.{_MODULES[arguments.action]}"
    return cast("_Module", importlib.import_module(name)).run(arguments) or 0
