"""Platforms: their names, and the choice of an image for one. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ci_env.frozen import dataclass

_ARCHITECTURES = {
    "x86_64": ("amd64", None),
    "aarch64": ("arm64", "v8"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "i686": ("386", None),
    "i386": ("386", None),
    "ppc64le": ("ppc64le", None),
    "s390x": ("s390x", None),
    "riscv64": ("riscv64", None),
    "loongarch64": ("loong64", None),
}
# image-index.md "platform variants": what an entry without a variant means.
_DEFAULT_VARIANT = {"arm64": "v8", "arm": "v7", "amd64": "v1"}
_KNOWN_VARIANTS = {"arm": ("v5", "v6", "v7", "v8"), "amd64": ("v1", "v2", "v3", "v4")}


@dataclass(frozen=True, slots=True)
class Platform:
    """What an image runs on, in the words of the OCI image spec (GOOS and GOARCH)."""

    os: str
    architecture: str
    variant: str | None = None

    def __str__(self) -> str:
        """Return `os/architecture[/variant]`, which `parse` reads back."""
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def parse(text: str) -> Platform:
    """Return the platform `os/architecture[/variant]`; ValueError unless it is one."""
    parts = text.split("/")
    if len(parts) not in (2, 3) or not all(part.isalnum() and part.isascii() for part in parts):
        raise ValueError(f"not a platform: {text!r} (write os/architecture[/variant], such as linux/amd64)")
    return Platform(*parts)


def canonical(platform: Platform) -> Platform:
    """Return the one spelling of a platform that has several, as `of_machine` has it: arm64 is arm64/v8."""
    variant = _variant(platform)
    plain = platform.architecture == "amd64" and variant == "v1"
    return Platform(platform.os, platform.architecture, None if plain else variant)


def of_machine(machine: str) -> Platform:
    """Return the platform of a Linux machine as uname(2) names it; an unknown one keeps its name."""
    architecture, variant = _ARCHITECTURES.get(machine, (machine, None))
    return Platform("linux", architecture, variant)


def runs_natively(platform: Platform, machine: Platform) -> bool:
    """Tell whether steps of `platform` run on `machine` without an emulator.

    Not those of a 32-bit forerunner (386 on amd64, arm on arm64): the filter of system calls kills what uses its calls.
    """
    if (platform.os, platform.architecture) != (machine.os, machine.architecture):
        return False
    return platform.variant is None or platform.variant in runnable_variants(machine)


def runnable_variants(wanted: Platform) -> tuple[str | None, ...]:
    """Return the variants that run on `wanted`, best first: v7, v6, v5 for arm/v7 and so on.

    The default variant stands for an entry that names none. amd64 runs only what it is asked for or less: a host that
    is not known to be amd64/v2 never gets v2.
    """
    variant = _variant(wanted)
    known = _KNOWN_VARIANTS.get(wanted.architecture, ())
    if variant in known:
        return tuple(reversed(known[: known.index(variant) + 1]))
    return (variant,)


def best(offers: Sequence[Platform | None], wanted: Platform) -> int | None:
    """Return the index of the offer to take; None if nothing fits.

    Of equally good ones the first wins (image-index.md). A single offer of unknown platform is taken: the image's own
    config is compared later.
    """
    if len(offers) == 1 and offers[0] is None:
        return 0
    ranks = runnable_variants(wanted)
    fits = [
        (ranks.index(_variant(offer)), index)
        for index, offer in enumerate(offers)
        if offer and (offer.os, offer.architecture) == (wanted.os, wanted.architecture) and _variant(offer) in ranks
    ]
    return min(fits)[1] if fits else None


def _variant(platform: Platform) -> str | None:
    return platform.variant or _DEFAULT_VARIANT.get(platform.architecture)
