"""Runs: ids, records, who is running, and what people may call them."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ci_env import codec
from ci_env.capsule.record import RECORD_VERSION, Host, Record
from ci_env.errors import ConfigError, HostError, IntegrityError
from ci_env.plan.plan import Plan, Source
from ci_env.store.home import Store, open_store
from ci_env.store.runs import Runs

NOW = "2026-11-25T02:17:45Z"
HOST = Host("6.18", "x86_64", 2, 2**32, "ext4", "root", ())
PLAN = Plan(1, Source("git", "tree", None, False, 0), "ci-env", ())
RECORD = Record(1, "", "running", NOW, 0, "ci-env.yml", HOST, {}, PLAN, ())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store")


@pytest.fixture
def runs(store: Store) -> Runs[Record]:
    return Runs(store, Record, version=RECORD_VERSION)


def recorded(runs: Runs[Record], started_at: str = NOW) -> str:
    with runs.create(started_at) as run:
        runs.write(dataclasses.replace(RECORD, run_id=run.id))
    return run.id


def record_file(store: Store, run_id: str) -> Path:
    return store.runs / run_id / "record.json"


def test_an_id_tells_the_time(runs: Runs[Record]) -> None:
    with runs.create(NOW) as run:
        assert re.fullmatch(r"20261125-021745-[0-9a-f]{4}", run.id)
        assert run.path.is_dir()
    with pytest.raises(ValueError, match="RFC 3339"), runs.create("yesterday"):
        pass


def test_a_record_is_replaced(runs: Runs[Record]) -> None:
    run_id = recorded(runs)
    done = dataclasses.replace(RECORD, run_id=run_id, status="passed")
    runs.write(done)
    assert runs.load(run_id) == done


def test_ids_newest_first_and_only_with_a_record(runs: Runs[Record], store: Store) -> None:
    old, new = recorded(runs, "2026-11-24T23:59:59Z"), recorded(runs)
    with runs.create("2027-01-01T00:00:00Z"):
        assert runs.ids() == (new, old)
    (store.runs / "not-a-run").mkdir()
    assert runs.ids() == (new, old)
    assert runs.find("last") == new


def test_many_in_the_same_second(runs: Runs[Record]) -> None:
    ids = [recorded(runs) for _ in range(300)]
    assert len(set(ids)) == 300
    assert runs.ids() == tuple(reversed(ids))


def test_ids_sort_by_the_fraction_of_the_second(runs: Runs[Record]) -> None:
    late, early, middle = (recorded(runs, f"2026-11-25T02:17:45.{part}Z") for part in ("999999999", "25", "250001"))
    assert [late, early] == ["20261125-021745-ffff", "20261125-021745-4000"]
    assert runs.ids() == (late, middle, early)


def test_running_while_its_process_lives(runs: Runs[Record], store: Store) -> None:
    program = "import sys; from pathlib import Path\n"
    program += "from ci_env.store.home import open_store; from ci_env.store.runs import Runs\n"
    program += "from ci_env.capsule.record import Record\n"
    program += f"with Runs(open_store(Path(sys.argv[1])), Record, version=1).create({NOW!r}) as run:\n"
    program += "    print(run.id, flush=True); sys.stdin.read()"
    argv = [sys.executable, "-c", program, str(store.root)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        run_id = process.stdout.readline().strip()
        assert runs.is_running(run_id)
        assert runs.is_running(run_id), "looking must not change it"
        os.kill(process.pid, signal.SIGKILL)
        process.wait(20)
        assert not runs.is_running(run_id)
    assert not runs.is_running(recorded(runs))


def test_find(runs: Runs[Record]) -> None:
    first, second = recorded(runs, "2026-11-24T10:00:00Z"), recorded(runs)
    assert runs.find(first) == first
    assert runs.find("20261124") == first
    assert runs.find(second[:-1]) == second
    with pytest.raises(ConfigError, match=f"'2026' may be 2 runs: {second}, {first}"):
        runs.find("2026")


def test_find_nothing(runs: Runs[Record]) -> None:
    with pytest.raises(ConfigError, match="there is no run yet") as caught:
        runs.find("last")
    assert "ci-env run" in (caught.value.hint or "")
    run_id = recorded(runs)
    with pytest.raises(ConfigError, match=f"there is no run .*; did you mean `{run_id}`"):
        runs.find(run_id[:-4] + "zzzz")
    for text in ("", "../runs", "lst", "/"):
        with pytest.raises(ConfigError, match="there is no run"):
            runs.find(text)


def test_load_nothing(runs: Runs[Record]) -> None:
    with pytest.raises(ConfigError, match="has no record"):
        runs.load("20261125-021745-0000")
    with pytest.raises(ConfigError, match="not the id of a run"):
        runs.load("../../etc")


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"[" * 100_000, bytes(100), b'{"version":true}', b'{"version":1}']
)
def test_a_damaged_record_is_named(runs: Runs[Record], store: Store, content: bytes) -> None:
    path = record_file(store, recorded(runs))
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=re.escape(f"{path} is damaged")) as caught:
        runs.load(path.parent.name)
    assert str(path.parent) in (caught.value.hint or "")
    assert len(caught.value.message) < 500


def test_a_newer_record_is_not_called_damaged(runs: Runs[Record], store: Store) -> None:
    run_id = recorded(runs)
    newer = codec.dumps(dataclasses.replace(RECORD, run_id=run_id)).replace(b'{"version":1', b'{"version":4,"new":1')
    record_file(store, run_id).write_bytes(newer)
    with pytest.raises(ConfigError, match=r"a newer ci-env wrote .*version 4, this one reads up to 3"):
        runs.load(run_id)


def test_a_record_needs_its_run(runs: Runs[Record]) -> None:
    with pytest.raises(HostError, match=r"cannot write .*No such file"):
        runs.write(dataclasses.replace(RECORD, run_id="20261125-021745-0000"))


@pytest.mark.parametrize("left", [(), ("lock",)], ids=["nothing", "half of it"])
def test_what_another_has_removed_is_no_run(runs: Runs[Record], store: Store, left: tuple[str, ...]) -> None:
    run_id = recorded(runs)
    for name in {"record.json", "lock"}.difference(left):
        (store.runs / run_id / name).unlink()
    if not left:
        (store.runs / run_id).rmdir()
    with pytest.raises(ConfigError, match=f"there is no run '{run_id}' any more"):
        runs.remove(run_id)
