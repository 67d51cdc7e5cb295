"""The chain of seals: what an inspector can rely on, whatever was done to the files or to the process."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway import limits, seals
from gateway.journal import Journal
from gateway.journal_check import Found, verify
from tests.gateway.test_journal import Clock


def written(directory: Path, clock: Clock, *, files: int = 3, worker: int = 0, key: bytes = b"n") -> list[Path]:
    """A journal of some files, each with three seals of two lines."""
    journal = Journal(directory, worker, clock=clock)
    for file in range(files):
        for second in range(3):
            assert journal.write([b'{"%b":%d}\n' % (key, 10 * file + second), b'{"m":1}\n'])
            journal.seal()
            clock.now += 1
        journal.close()
        clock.now += 1
    return sorted(path for path in directory.glob("*.ndjson"))


def one(directory: Path, kept: str = "") -> Found:
    (found,) = verify(directory, kept)
    return found


def test_a_journal_is_whole_and_its_newest_digest_stands_for_all(tmp_path: Path) -> None:
    clock = Clock()
    written(tmp_path, clock)
    before = one(tmp_path)
    assert (before.files, before.lines, before.unsealed, before.faults) == (3, 18, 0, [])
    written(tmp_path, clock, files=1)
    after = one(tmp_path, before.digest)
    assert after.faults == []
    assert after.digest != before.digest


def changed(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"m":1', b'"m":2', 1))


def without_a_line(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2] + lines[3:]))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4])


def with_one_more(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b'{"n":99}\n')


def swapped(path: Path) -> None:
    first, second, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([second, first, *rest]))


def without_seals(path: Path) -> None:
    path.with_suffix(".seals").unlink()


def without_both(path: Path) -> None:
    path.with_suffix(".seals").unlink()
    path.unlink()


def without_a_seal(path: Path) -> None:
    """The last seal: its lines are then behind the last one."""
    seal_file = path.with_suffix(".seals")
    seal_file.write_bytes(b"".join(seal_file.read_bytes().splitlines(keepends=True)[:-1]))


def with_garbled_seals(path: Path) -> None:
    path.with_suffix(".seals").write_bytes(b"{]\n")


DONE_TO_A_FILE: dict[Callable[[Path], object], str] = {
    changed: "lines 1 to 2, sealed at 2025-11-25T08:40:04.500Z, were changed",
    without_a_line: "lines 3 to 4, sealed at 2025-11-25T08:40:05.500Z, were changed",
    cut: "are missing or changed",
    with_one_more: "1 lines behind its last seal",
    swapped: "lines 1 to 2",
    without_seals: "has no seals",
    without_both: "does not follow",
    without_a_seal: "2 lines behind its last seal",
    with_garbled_seals: "cannot be read",
    os.unlink: "is missing, with 6 lines",
}


@pytest.mark.parametrize("do", DONE_TO_A_FILE, ids=lambda do: do.__name__)
def test_i8_what_is_done_to_a_file_shows(tmp_path: Path, do: Callable[[Path], object]) -> None:
    _, middle, _ = written(tmp_path, Clock())
    do(middle)
    found = one(tmp_path)
    assert any(DONE_TO_A_FILE[do] in fault for fault in found.faults), found.faults


def test_a_journal_written_anew_with_its_seals_shows_by_a_digest_that_was_kept(tmp_path: Path) -> None:
    clock = Clock()
    written(tmp_path, clock)
    kept = one(tmp_path).digest
    for path in tmp_path.iterdir():
        path.unlink()
    clock.now += 60
    written(tmp_path, clock, key=b"x")
    assert one(tmp_path).faults == [], "by itself it looks whole"
    assert any(kept in fault for fault in one(tmp_path, kept).faults)


def test_files_that_were_carried_away_are_no_fault(tmp_path: Path) -> None:
    first, *_ = written(tmp_path, Clock())
    without_both(first)
    found = one(tmp_path)
    assert (found.faults, found.follows) == ([], first.name)


def compressed(path: Path) -> Path:
    packed = path.with_name(f"{path.name}.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    return packed


def test_files_that_were_compressed_are_checked_as_they_were(tmp_path: Path) -> None:
    first, second, _ = written(tmp_path, Clock())
    whole = one(tmp_path)
    packed = compressed(second)
    assert one(tmp_path) == whole
    changed(first)
    compressed(first)
    assert one(tmp_path).faults == [f"{first.name}: lines 1 to 2, sealed at 2025-11-25T08:40:00.500Z, were changed"]
    packed.write_bytes(packed.read_bytes()[:-12])
    assert one(tmp_path).faults[1:] == [f"{second.name}: was compressed, and cannot be read"]


def test_what_a_killed_worker_left_is_sealed_by_the_next(tmp_path: Path) -> None:
    clock = Clock()
    killed = Journal(tmp_path, 0, clock=clock)
    assert killed.write([b"1\n"])
    killed.seal()
    assert killed.write([b"2\n", b"3\n"])
    with (tmp_path / "decisions-20251125T084000-0.seals").open("ab") as file:
        file.write(b'{"at":"2025-11')  # cut off in the middle of a seal
    assert one(tmp_path).unsealed == 2
    os.close(killed._chain._file)  # the lock goes with the process
    clock.now += 1
    assert Journal(tmp_path, 0, clock=clock).write([b"4\n"])
    found = one(tmp_path)
    assert (found.faults, found.lines, found.unsealed) == ([], 4, 1)


@pytest.mark.parametrize("seals_hold", [None, b"", b'{"digest":"00'], ids=["nothing", "no octet", "half a line"])
def test_a_worker_killed_while_it_began_a_file_left_nothing_out(tmp_path: Path, seals_hold: bytes | None) -> None:
    clock = Clock()
    *_, last = written(tmp_path, clock, files=2)
    begun = tmp_path / last.name.replace("decisions-2025", "decisions-2026")
    begun.touch()
    if seals_hold is not None:
        begun.with_suffix(".seals").write_bytes(seals_hold)
    assert one(tmp_path).faults == []
    clock.now += 400 * 24 * 3600
    written(tmp_path, clock, files=1)
    found = one(tmp_path)
    assert (found.faults, found.files, found.lines) == ([], 3, 18)
    begun.write_bytes(b"1\n")
    assert one(tmp_path).faults


def test_two_who_write_at_the_same_time_do_not_seal_for_each_other(tmp_path: Path) -> None:
    clock = Clock()
    old, new = Journal(tmp_path, 0, clock=clock), Journal(tmp_path, 0, clock=clock)
    assert old.write([b"1\n"])
    assert new.write([b"2\n"])
    for journal in (old, new):
        assert journal.write([b"3\n"])
        journal.close()
    (fault,) = one(tmp_path).faults
    assert "begins a chain of its own" in fault


def test_workers_have_chains_of_their_own(tmp_path: Path) -> None:
    clock = Clock()
    written(tmp_path, clock, worker=0)
    written(tmp_path, clock, worker=11)
    _, damaged, _ = sorted(tmp_path.glob("*-11.ndjson"))
    changed(damaged)
    whole, broken = verify(tmp_path)
    assert (whole.worker, whole.faults) == (0, [])
    assert (broken.worker, len(broken.faults)) == (11, 1)


def test_a_line_that_a_full_disk_cut_off_is_sealed_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    journal = Journal(tmp_path, 0, clock=clock)
    assert journal.write([b'{"n":1}\n'])
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:3]))
    assert not journal.write([b'{"n":2}\n'])
    journal.seal()
    monkeypatch.setattr(os, "write", write)
    clock.now += limits.JOURNAL_RETRY_S
    assert journal.write([b'{"n":3}\n'])
    journal.close()
    found = one(tmp_path)
    assert (found.faults, found.unsealed) == ([], 0)


def test_a_disk_that_takes_no_seal_is_asked_again(tmp_path: Path) -> None:
    """/dev/full is a real device that takes nothing."""
    clock = Clock()
    journal = Journal(tmp_path, 0, clock=clock)
    assert journal.write([b"1\n"])
    kept = os.dup(journal._chain._file)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, journal._chain._file)
    journal.seal()
    journal.close()  # nor the last one: the next file's beginning seals it
    os.close(full)
    os.close(kept)
    clock.now += 1
    assert journal.write([b"2\n"])
    journal.close()
    found = one(tmp_path)
    assert (found.faults, found.lines) == ([], 2)


def test_no_decision_is_written_where_it_cannot_be_sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    journal = Journal(tmp_path, 0, clock=clock)

    def refuse(self: seals.Chain, path: Path, at: str) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(seals.Chain, "begin", refuse)
        assert not journal.write([b"1\n"])
    assert list(tmp_path.iterdir()) == []
    clock.now += limits.JOURNAL_RETRY_S
    assert journal.write([b"2\n"])


def test_an_inspector_can_compute_it_without_us(tmp_path: Path) -> None:
    """As the page says: BLAKE2b-256 over the digest before and the octets since then."""
    from hashlib import blake2b

    (journal,) = written(tmp_path, Clock(), files=1)
    lines = [json.loads(line) for line in journal.with_suffix(".seals").read_text().splitlines()]
    digest, done, content = bytes.fromhex(lines[0]["digest"]), 0, journal.read_bytes()
    for seal in lines[1:]:
        digest = blake2b(digest + content[done : seal["octets"]], digest_size=32).digest()
        assert digest.hex() == seal["digest"]
        done = seal["octets"]
    assert done == len(content)


def test_a_clock_that_was_set_back_is_no_fault(tmp_path: Path) -> None:
    """Names no longer tell the order; what follows what does. A file that goes missing shows as ever."""
    clock = Clock()
    for start in (1000, 5000, 3000, 3500, 6000, 5500):
        clock.now = start
        written(tmp_path, clock, files=1)
        assert one(tmp_path).faults == []
    assert one(tmp_path).files == 6
    gone = tmp_path / sorted(path.name for path in tmp_path.glob("*.ndjson"))[1]
    without_both(gone)
    assert [fault for fault in one(tmp_path).faults if "does not follow" in fault]


def test_a_file_that_was_given_to_another_worker_shows(tmp_path: Path) -> None:
    last = written(tmp_path, Clock())[-1]
    for path in (last, last.with_suffix(".seals")):
        path.rename(path.with_name(path.name.replace("-0.", "-1.")))
    _, other = verify(tmp_path)
    assert len(other.faults) == 1
    assert "no file of this worker" in other.faults[0]


@pytest.mark.parametrize("digest", ["z" * 64, "00", "é" * 64])
def test_a_digest_that_is_none_is_said_to_be_unreadable(tmp_path: Path, digest: str) -> None:
    seals_file = written(tmp_path, Clock())[1].with_suffix(".seals")
    head, *rest = seals_file.read_text().splitlines(keepends=True)
    seals_file.write_text(json.dumps({**json.loads(head), "digest": digest}) + "\n" + "".join(rest))
    assert any("its seals cannot be read" in fault for fault in one(tmp_path).faults)
