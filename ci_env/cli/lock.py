"""`ci-env lock`: write down what the names of the pipeline's images mean, for runs to stay with, wherever tags go."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ci_env.cli.pipeline_file import DEFAULT
from ci_env.errors import ConfigError
from ci_env.resolve.machine import this_machine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ci_env.digest import Digest
    from ci_env.events import Emit
    from ci_env.lockfile import LockedImage, Lockfile

_SHOWN = 19  # `sha256:` and 12 digits


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("-f", "--file", type=Path, default=Path(DEFAULT), help=f"pipeline file (default: {DEFAULT})")
    update = "ask registries again what these images mean (default: all), and show what has changed"
    parser.add_argument("--update", metavar="IMAGE", nargs="*", help=update)


def run(arguments: argparse.Namespace) -> int:
    """Write the lockfile, and print a line for each image."""
    from ci_env import lockfile
    from ci_env.cli import pipeline_file
    from ci_env.cli.interrupt import interruptible
    from ci_env.plan.compile import named_images
    from ci_env.ui.view import choose

    file = Path(arguments.file)
    pipeline = pipeline_file.load(pipeline_file.read(file), str(file))
    places = {image: at for image, at in named_images(pipeline.jobs).items() if lockfile.is_movable(image)}
    path = pipeline_file.lockfile_of(file)
    old = lockfile.read(path) or lockfile.EMPTY
    updated = _updated(arguments.update, places)
    with interruptible(), choose("plain", stdout=sys.stderr, stderr=sys.stderr, env=os.environ) as emit:
        images = {
            text: old.images[text]
            if text in old.images and text not in updated and _is_known(old.images[text])
            else _look_up(text, places[text], old.images.get(text) if text not in updated else None, emit)
            for text in sorted(places)
        }
    new = lockfile.Lockfile(1, images)
    if new != old or not path.exists():
        lockfile.write(path, new)
    sys.stdout.writelines(f"{line}\n" for line in _changes(old, new))
    sys.stdout.write(f"{path}: {len(images)} {'image' if len(images) == 1 else 'images'}\n")
    return 0


def _updated(names: Sequence[str] | None, places: Mapping[str, str]) -> frozenset[str]:
    """Return which images are to be asked for again. ConfigError for one that the pipeline does not have."""
    from ci_env.pipeline.suggest import did_you_mean

    for name in names or ():
        if name not in places:
            hint = f"its images: {', '.join(sorted(places)) or 'none that a lock could hold'}"
            raise ConfigError(f"the pipeline has no image {name!r}{did_you_mean(name, places)}", hint=hint)
    return frozenset(names or (places if names is not None else ()))


def _is_known(image: LockedImage) -> bool:
    """Tell whether it is known what the image is on this machine."""
    return image.digest(str(this_machine())) is not None


def _look_up(text: str, at: str, known: LockedImage | None, emit: Emit) -> LockedImage:
    """Ask the registry what the image is. What is `known` of other platforms stays, if nothing has moved."""
    from ci_env.lockfile import LockedImage
    from ci_env.resolve.identity import identify

    found = identify(text, this_machine(), at=at, emit=emit)
    others: Mapping[str, Digest] = known.manifests if known is not None and known.index is None else {}
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return LockedImage(now, found.index, {**others, **found.manifests})


def _changes(old: Lockfile, new: Lockfile) -> Iterator[str]:
    for text in sorted({*old.images, *new.images}):
        before, after = old.images.get(text), new.images.get(text)
        if after is None:
            yield f"{text}: removed, as the pipeline does not name it"
        elif before is None:
            yield f"{text}: {_shown(after)}, added"
        elif (before.index, before.manifests) == (after.index, after.manifests):
            yield f"{text}: {_shown(after)}, as it was"
        else:
            yield f"{text}: {_shown(after)}, was {_shown(before)} of {before.date[:10]}"


def _shown(image: LockedImage) -> str:
    digest = image.index or next(iter(image.manifests.values()))
    return digest[:_SHOWN]
