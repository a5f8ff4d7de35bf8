"""The rows of containerd's TestBreakouts (pkg/archive/tar_test.go), in its order."""

from __future__ import annotations

from tests.layer_cases.case import VICTIM, Try, fails, shows
from tests.oci_builder import Item, d, f, hard, link, wh

_ETC = d("etc", mode=0o770)
_PASSWD = f("etc/passwd", "inside")
_IMAGE = (d("etc"), _PASSWD)
_UNBROKEN = f("etc/unbroken", "unbroken")
_LOCAL = f("localetc/unbroken", "unbroken")
_DUMMY = (d("etc"), d("dummy"), link("dummy/etc", "/etc"))
_LINKED = hard("localpasswd", "etc/passwd")
_MINE = hard("breakouts/mypasswd", "etc/passwd")
_BESIDE = hard("localetc/localpasswd", "etc/passwd")


def _through(target: str) -> tuple[Item, ...]:
    return _ETC, _PASSWD, link("localetc", target)


BREAKOUTS: tuple[Try, ...] = (
    # SymlinkAbsolute, SymlinkUpAndOut, SymlinkMultipleAbsolute, SymlinkMultipleRelative, SymlinkEmptyFile
    shows((d("etc"), link("localetc", "/etc"), _LOCAL), tree=(d("etc"), link("localetc", "/etc"), _UNBROKEN)),
    shows(
        (d("etc"), d("dummy"), link("localetc", "/dummy/../etc"), _LOCAL),
        tree=(d("etc"), d("dummy"), link("localetc", "/dummy/../etc"), _UNBROKEN),
    ),
    *(
        shows(
            (*_DUMMY, link("localetc", target), f("dummy/etc/unbroken", "unbroken")),
            tree=(*_DUMMY, link("localetc", target), _UNBROKEN),
        )
        for target in ("/dummy/etc", "./dummy/etc")
    ),
    shows(
        (d("etc"), f("etc/emptied", "notempty"), link("localetc", "/etc"), f("localetc/emptied")),
        tree=(d("etc"), f("etc/emptied"), link("localetc", "/etc")),
        warnings=["/etc/emptied is in the layer more than once"],
    ),
    # HardlinkRelative, HardlinkDownAndOut
    *(
        shows(
            (_ETC, _PASSWD, d("breakouts"), d("downandout"), link("breakouts/d1", target), way),
            tree=(_ETC, _PASSWD, d("breakouts"), d("downandout"), link("breakouts/d1", target), _MINE),
        )
        for target in ("../../etc", "../downandout/../../etc")
        for way in (hard("breakouts/mypasswd", "/breakouts/d1/passwd"),)
    ),
    # HardlinkAbsolute, HardlinkRelativeLong, HardlinkRelativeUpAndOut
    *(
        shows((*_through(target), hard("localpasswd", "/localetc/passwd")), tree=(*_through(target), _LINKED))
        for target in ("/etc", "../../../../../../../etc", "upandout/../../../etc")
    ),
    # HardlinkDirectRelative, HardlinkDirectAbsolute
    *(
        shows((_ETC, _PASSWD, hard("localpasswd", target)), tree=(_ETC, _PASSWD, _LINKED))
        for target in ("../../../../../etc/passwd", "/etc/passwd")
    ),
    # SymlinkParentDirectory, SymlinkEmptyFilename
    fails((_ETC, _PASSWD, link("..", "/etc/"), _LINKED), message="root is not a directory"),
    fails((_ETC, _PASSWD, link("", "/etc/"), _LINKED), message="no name"),
    # SymlinkParentRelative: the name is cleaned first, so the link is `localetc` itself
    shows(
        (_ETC, _PASSWD, link("localetc/sub/..", "/etc/"), hard("localetc/localpasswd", "/etc/passwd")),
        tree=(_ETC, _PASSWD, link("localetc", "/etc/"), hard("etc/localpasswd", "etc/passwd")),
    ),
    # SymlinkSlashEnded
    shows(
        (_ETC, _PASSWD, d("localetc", mode=0o770), hard("localetc/localpasswd", "/etc/passwd")),
        tree=(_ETC, _PASSWD, d("localetc", mode=0o770), _BESIDE),
    ),
    # SymlinkOverrideDirectory, SymlinkOverrideDirectoryRelative
    *(
        shows(
            (*_IMAGE, d("localetc")),
            (link("localetc", target), hard("localetc/localpasswd", "/etc/passwd")),
            tree=(*_IMAGE, link("localetc", target), hard("etc/localpasswd", "etc/passwd")),
        )
        for target in ("/etc", "../../etc")
    ),
    # DirectoryOverrideSymlink, DirectoryOverrideSymlinkAndHardlink
    shows(
        (*_IMAGE, link("localetc", "/etc")),
        (d("localetc"), hard("localetc/localpasswd", "/etc/passwd")),
        tree=(*_IMAGE, d("localetc"), _BESIDE),
    ),
    shows(
        (*_IMAGE, link("localetc", "etc"), hard("localetc/localpasswd", "/etc/passwd")),
        (d("localetc"), f("localetc/localpasswd", "different")),
        tree=(*_IMAGE, hard("etc/localpasswd", "etc/passwd"), d("localetc"), f("localetc/localpasswd", "different")),
    ),
    # WhiteoutRootParent, WhiteoutParent, WhiteoutRoot, WhiteoutCurrentDirectory
    *(fails(_IMAGE, (f(name),), message="invalid whiteout") for name in (".wh...", "etc/.wh...", ".wh..", "etc/.wh..")),
    # WhiteoutSymlink, WhiteoutSymlinkPath, WhiteoutDirectoryName, WhiteoutDeadSymlinkParent, WhiteoutRelativePath
    shows((*_IMAGE, link("localetc", "/etc")), (wh("localetc"),), tree=_IMAGE),
    shows(
        (*_IMAGE, f("etc/whitedout"), link("localetc", "/etc")),
        (wh("localetc/whitedout"),),
        tree=(*_IMAGE, link("localetc", "/etc")),
    ),
    fails(_IMAGE, (f(".wh.etc/somefile", "non-empty"),), message="below a whiteout"),
    shows((*_IMAGE, link("localetc", "/dne")), (wh("localetc/etc"),), tree=(*_IMAGE, link("localetc", "/dne"))),
    shows((*_IMAGE, link("localetc", "/dne")), (f("dne/../.wh.etc"),), tree=(link("localetc", "/dne"),)),
    # HardlinkSymlinkBeforeCreateTarget, HardlinkSymlinkRelative, HardlinkSymlinkAbsolute, HardlinkSymlinkChmod
    shows(
        (_ETC, link("localpasswd", "/etc/passwd"), hard("localpasswd-dup", "localpasswd"), f("etc/passwd", "after")),
        tree=(
            _ETC,
            link("localpasswd", "/etc/passwd"),
            hard("localpasswd-dup", "localpasswd"),
            f("etc/passwd", "after"),
        ),
    ),
    *(
        shows(
            (_ETC, _PASSWD, link("passwdlink", target), hard("localpasswd", "/passwdlink")),
            tree=(_ETC, _PASSWD, link("passwdlink", target), hard("localpasswd", "passwdlink")),
        )
        for target in ("../../../../../etc/passwd", "/etc/passwd")
    ),
    shows(
        (link(VICTIM, VICTIM + "/kept"), hard("sketchylink", VICTIM, mode=0o777)),
        tree=(link(VICTIM, VICTIM + "/kept"), hard("sketchylink", VICTIM)),
    ),
)
