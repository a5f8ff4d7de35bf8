"""Users of an image: whatever its files hold, the answer is an identity inside or a refusal."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from ci_env_runners.identity import Beyond, Identity, Unknown, identify

contents = st.binary(max_size=200).map(lambda content: content.decode(errors="surrogateescape"))
numbers = st.integers(0, 2**33).map(str) | st.sampled_from(["", "00", "-1", "+1", "\u0661", "9" * 20, "0" * 5000])
names = st.text(st.characters(exclude_characters=":\n,", codec="utf-8"), min_size=1, max_size=3)
fields = names | numbers
entries = st.lists(st.lists(fields, min_size=4, max_size=7).map(":".join), max_size=4).map("\n".join)
files = contents | entries


@given(st.text(max_size=8) | fields, files, files, st.sampled_from([1, 65536, 2**31]))
@example("0" * 5000, "", "", 1)
def test_any_files_give_an_identity_inside_or_a_refusal(user: str, passwd: str, group: str, ids: int) -> None:
    try:
        found = identify(user, passwd, group, ids=ids)
    except (Unknown, Beyond):
        return
    assert all(0 <= number < ids for number in (found.uid, found.gid, *found.groups))
    assert found.home


@given(names.filter(lambda name: not (name.isascii() and name.isdecimal())), st.integers(0, 9), st.integers(0, 9))
def test_what_is_written_is_found(name: str, uid: int, gid: int) -> None:
    passwd = f"other:x:8:8::/:\n{name}:x:{uid}:{gid}:\u2028\x85\x0c:/home/{name}:/bin/sh\n"
    group = f"one:x:5:someone\ntwo:x:6:someone,{name}\n"
    assert identify(name, passwd, group, ids=65536) == Identity(uid, gid, (6,), f"/home/{name}")


@given(st.integers(0, 2**40), files)
def test_digits_are_never_a_name(number: int, passwd: str) -> None:
    """An entry that bears a number as its name gives nobody its rights (CVE-2024-40635)."""
    trap = f"{number}:x:0:0::/:\n{passwd}"
    try:
        found = identify(str(number), trap, "", ids=2**31)
    except Unknown:
        assert number >= 2**31
    else:
        assert found.uid == number
