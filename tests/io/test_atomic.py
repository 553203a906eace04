"""Files and folders are there whole or not at all, and on the disk before they have their name."""

import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kflare.errors import SettingError
from kflare.io.atomic import (
    held_folders,
    make_folder,
    move_into_place,
    remove_abandoned,
    replace_link,
    temporary_file,
    temporary_folder,
    write_folder,
    write_whole,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def synced(monkeypatch, tmp_path):
    """Paths that were put onto the disk, in order, each with what the folder held at that moment."""
    seen, fsync = [], os.fsync

    def record(handle):
        path = Path(f"/proc/self/fd/{handle}").readlink()
        seen.append((os.path.relpath(path, tmp_path), names(tmp_path)))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", record)
    return seen


def test_text_bytes_and_a_function(tmp_path):
    path = tmp_path / "a.txt"
    assert write_whole(path, "5 °\r\n") == path
    assert path.read_bytes() == "5 °\r\n".encode()
    write_whole(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    write_whole(path, lambda file: file.write(b"from a function"))
    assert path.read_bytes() == b"from a function"
    assert path.stat().st_mode & 0o777 == 0o644
    assert names(tmp_path) == ["a.txt"]


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.fits"
    path.write_bytes(b"before")

    def fail(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(SettingError, match=r"cannot write `.*a\.fits`: No space left on device"):
        write_whole(path, fail)
    assert names(tmp_path) == ["a.fits"]
    assert path.read_bytes() == b"before"


def test_an_interrupt_leaves_what_was_there_and_stays_what_it_is(tmp_path):
    def interrupted():
        with temporary_file(tmp_path / "a.weights.npz") as part:
            assert part.name.endswith(".weights.npz")
            assert part.name.startswith(".part-")
            part.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert names(tmp_path) == []


def test_a_disk_that_is_full(tmp_path):
    """The kernel's own refusal, here by a limit on the size of files."""
    (tmp_path / "a").write_bytes(b"before")
    script = (
        "import resource, signal, sys; from pathlib import Path; from kflare.io.atomic import write_whole\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "write_whole(Path(sys.argv[1]), b'x' * 10_000)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "a")], capture_output=True, check=False)
    assert b"SettingError: cannot write" in done.stderr
    assert b"File too large; make room, or choose another folder" in done.stderr
    assert (names(tmp_path), (tmp_path / "a").read_bytes()) == (["a"], b"before")


def test_a_folder_that_is_missing(tmp_path):
    with pytest.raises(SettingError, match=r"cannot write `.*missing/a`: No such file"):
        write_whole(tmp_path / "missing" / "a", "")


def test_two_writers_at_once_and_a_reader(tmp_path):
    path = tmp_path / "a"
    contents = {letter * 300_000 for letter in "ab"}
    write_whole(path, "a" * 300_000)
    end, seen = time.monotonic() + 1.0, set()

    def write(content):
        while time.monotonic() < end:
            write_whole(path, content)

    writers = [threading.Thread(target=write, args=(content,)) for content in contents]
    for writer in writers:
        writer.start()
    while time.monotonic() < end:
        seen.add(path.read_text())
    for writer in writers:
        writer.join()
    assert seen <= contents
    assert names(tmp_path) == ["a"]


def test_file_and_folder_are_put_onto_the_disk(tmp_path, synced):
    write_whole(tmp_path / "a", "content")
    (file, before), (folder, after) = synced
    assert [file] == before  # under its temporary name
    assert file.startswith(".part-")
    assert (folder, after) == (".", ["a"])


def test_a_file_system_that_cannot_sync_folders(tmp_path, monkeypatch):
    fsync = os.fsync

    def of_files_alone(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(22, "Invalid argument")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", of_files_alone)
    write_folder(tmp_path / "1", lambda part: write_whole(part / "a", "content"))
    assert (tmp_path / "1" / "a").read_text() == "content"


def test_all_of_a_folder_is_put_onto_the_disk(tmp_path, synced):
    def build(part):
        (part / "sub").mkdir()
        (part / "sub" / "file").write_text("content")
        (part / "link").symlink_to("nowhere")

    assert write_folder(tmp_path / "1", build) == tmp_path / "1"
    part = synced[0][0].split("/")[0]
    assert sorted(path for path, _ in synced[:-1]) == [part, f"{part}/sub", f"{part}/sub/file"]
    assert all(held == [part] for _, held in synced[:-1])
    assert synced[-1] == (".", ["1"])
    assert (tmp_path / "1").stat().st_mode & 0o777 == 0o755


def test_a_folder_that_is_built_half_way_or_whose_name_is_taken(tmp_path):
    def fail(part):
        (part / "file").write_text("half")
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        write_folder(tmp_path / "1", fail)
    assert names(tmp_path) == []
    write_folder(tmp_path / "1", lambda part: (part / "file").write_text("first"))
    with pytest.raises(OSError, match="not empty"):
        write_folder(tmp_path / "1", lambda part: (part / "file").write_text("second"))
    assert (names(tmp_path), (tmp_path / "1" / "file").read_text()) == (["1"], "first")


def test_parts_of_a_temporary_folder_may_be_moved_out(tmp_path):
    with temporary_folder(tmp_path) as part:
        (part / "model").mkdir()
        (part / "rest").touch()
        move_into_place(part / "model", tmp_path / "2")
    assert names(tmp_path) == ["2"]


def test_a_link_is_replaced_in_one_step(tmp_path):
    (tmp_path / "v1").mkdir()
    (tmp_path / "v2").mkdir()
    for target in ("v1", "v2"):
        replace_link(tmp_path / "site", target)
        assert (tmp_path / "site").readlink() == Path(target)
    assert names(tmp_path) == ["site", "v1", "v2"]


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path):
    script = (
        "import os, sys; from pathlib import Path; from kflare.io.atomic import write_whole\n"
        "write_whole(Path(sys.argv[1]), lambda file: (file.write(b'half'), file.flush(), os._exit(9)))"
    )
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path / "a")], check=False).returncode == 9
    (tmp_path / ".part-folder").mkdir()
    (tmp_path / ".part-folder" / "file").touch()
    (tmp_path / ".lock").touch()
    assert len(names(tmp_path)) == 3
    remove_abandoned(tmp_path, seconds=60)
    assert len(names(tmp_path)) == 3  # may be another's, at work
    remove_abandoned(tmp_path)
    assert names(tmp_path) == [".lock"]


def test_a_folder_that_cannot_be_is_refused(tmp_path):
    make_folder(tmp_path / "new" / "maps")
    assert names(tmp_path / "new" / "maps") == []
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match=r"cannot write to `.*file/maps`.*choose another"):
        make_folder(tmp_path / "file" / "maps")


def test_folders_are_held_by_one_run_and_free_after_its_death(tmp_path):
    maps, pictures = tmp_path / "maps", tmp_path / "pictures"
    script = (
        "import os, sys; from pathlib import Path; from kflare.io.atomic import held_folders\n"
        "with held_folders(*map(Path, sys.argv[1:])): Path(sys.argv[2], '.part-x').touch(); os._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(maps), str(pictures)], check=False)
    assert (done.returncode, names(pictures)) == (9, [".part-x"])
    with held_folders(maps, pictures):
        assert (names(maps), names(pictures)) == ([".lock"], [])
        with pytest.raises(SettingError, match="another run is at work in"), held_folders(maps, pictures):
            pass
