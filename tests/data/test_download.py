import hashlib
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
from wording import says

from vicinal.data import download
from vicinal.data.download import DownloadError, RemoteFile, fetch

CONTENT = np.random.default_rng(0).bytes(300_000)


def remote(*urls: str, content: bytes = CONTENT) -> RemoteFile:
    return RemoteFile(
        "set.bin", urls, f"sha256:{hashlib.sha256(content).hexdigest()}", len(content)
    )


def test_a_present_file_needs_no_network(tmp_path):
    (tmp_path / "set.bin").write_bytes(CONTENT)
    assert fetch(remote("http://nowhere.invalid/"), tmp_path) == tmp_path / "set.bin"


def test_a_present_file_with_another_checksum_is_named_and_kept(tmp_path):
    (tmp_path / "set.bin").write_bytes(b"mine")
    with pytest.raises(DownloadError) as error:
        fetch(remote("http://nowhere.invalid/"), tmp_path)
    assert hashlib.sha256(b"mine").hexdigest() in str(error.value)
    assert hashlib.sha256(CONTENT).hexdigest() in str(error.value)
    assert (tmp_path / "set.bin").read_bytes() == b"mine"


def test_a_cut_connection_continues_from_the_byte(web, tmp_path):
    web.files["/a"] = CONTENT
    web.cuts["/a"] = [100_000, 50_000]
    assert fetch(remote(f"{web.url}/a"), tmp_path).read_bytes() == CONTENT
    assert web.asked == [("/a", None), ("/a", "bytes=100000-"), ("/a", "bytes=150000-")]


def test_what_an_earlier_process_left_is_continued(web, tmp_path):
    web.files["/a"] = CONTENT
    (tmp_path / "set.bin.part").write_bytes(CONTENT[:1234])
    assert fetch(remote(f"{web.url}/a"), tmp_path).read_bytes() == CONTENT
    assert web.asked == [("/a", "bytes=1234-")]
    assert [path.name for path in tmp_path.iterdir()] == ["set.bin"]


def test_a_server_without_ranges_starts_over(web, tmp_path):
    web.files["/a"] = CONTENT
    web.without_ranges.add("/a")
    (tmp_path / "set.bin.part").write_bytes(CONTENT[:1234])
    assert fetch(remote(f"{web.url}/a"), tmp_path).read_bytes() == CONTENT


def test_a_complete_leftover_is_verified_without_asking(web, tmp_path):
    (tmp_path / "set.bin.part").write_bytes(CONTENT)
    assert fetch(remote(f"{web.url}/a"), tmp_path).read_bytes() == CONTENT
    assert web.asked == []


def test_a_spoilt_leftover_costs_one_fresh_start(web, tmp_path):
    web.files["/a"] = CONTENT
    (tmp_path / "set.bin.part").write_bytes(b"x" * 1000)
    assert fetch(remote(f"{web.url}/a"), tmp_path).read_bytes() == CONTENT
    assert web.asked == [("/a", "bytes=1000-"), ("/a", None)]


def test_wrong_bytes_fall_to_the_next_source(web, tmp_path):
    web.files["/bad"] = CONTENT[:-1] + b"!"
    web.files["/good"] = CONTENT
    path = fetch(remote(f"{web.url}/bad", f"{web.url}/good"), tmp_path)
    assert path.read_bytes() == CONTENT
    assert web.asked == [("/bad", None), ("/good", None)]


def test_wrong_bytes_alone_leave_nothing_to_open(web, tmp_path):
    web.files["/bad"] = CONTENT[:-1] + b"!"
    with pytest.raises(DownloadError, match=says("sha256")):
        fetch(remote(f"{web.url}/bad"), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"<html>log in first</html>", CONTENT + b"more"])
def test_an_answer_of_another_length_is_not_taken(web, tmp_path, content):
    web.files["/portal"] = content
    web.files["/good"] = CONTENT
    (tmp_path / "set.bin.part").write_bytes(CONTENT[:10])
    web.without_ranges.add("/portal")
    fetch(remote(f"{web.url}/portal", f"{web.url}/good"), tmp_path)
    assert web.asked[-1] == ("/good", "bytes=10-")


def test_without_network_the_message_is_what_how_and_try_this(tmp_path):
    file = remote("http://127.0.0.1:9/set.bin", "http://127.0.0.1:9/other.bin")
    with pytest.raises(DownloadError) as error:
        fetch(file, tmp_path)
    missing, manual, attempt = str(error.value).splitlines()
    assert "set.bin" in missing
    assert str(tmp_path) in missing
    assert "refused" in missing
    assert all(
        part in manual for part in (file.urls[0], file.checksum, "300,000 bytes", "set.bin.")
    )
    assert "vicinal train dataset=digits" in attempt
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_the_reason(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match=r"Not a directory|File exists") as error:
        fetch(remote("http://127.0.0.1:9/set.bin"), tmp_path / "file")
    assert len(str(error.value).splitlines()) == 3


def _fetch(url: str, root: Path) -> None:
    fetch(remote(url), root)


def test_two_processes_download_once(web, tmp_path):
    web.files["/a"] = CONTENT
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_fetch, args=(f"{web.url}/a", tmp_path)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert (tmp_path / "set.bin").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["set.bin"]
    assert len(web.asked) == 1


def test_whoever_waited_writes_into_no_finished_file(tmp_path):
    part = tmp_path / "set.bin.part"
    part.write_bytes(CONTENT)
    with part.open("a+b") as stale:
        part.replace(tmp_path / "set.bin")
        with download._locked(part) as fresh:
            assert fresh.fileno() != stale.fileno()
            fresh.write(b"new")
    assert (tmp_path / "set.bin").read_bytes() == CONTENT


def test_whichever_checksum_was_published_identifies_the_file(web, tmp_path):
    web.files["/bad"] = CONTENT[:-1] + b"!"
    web.files["/good"] = CONTENT
    md5 = f"md5:{hashlib.md5(CONTENT).hexdigest()}"
    urls = (f"{web.url}/bad", f"{web.url}/good")
    path = fetch(RemoteFile("set.bin", urls, md5, len(CONTENT)), tmp_path)
    assert path.read_bytes() == CONTENT
    path.write_bytes(b"mine")
    with pytest.raises(
        DownloadError, match=says(f"{md5} ... md5:{hashlib.md5(b'mine').hexdigest()}")
    ):
        fetch(RemoteFile("set.bin", urls, md5, len(CONTENT)), tmp_path)


def test_a_name_may_have_a_folder(web, tmp_path):
    web.files["/a"] = CONTENT
    whole = remote(f"{web.url}/a")
    inside = RemoteFile("folder/set.bin", whole.urls, whole.checksum, whole.size)
    assert fetch(inside, tmp_path) == tmp_path / "folder" / "set.bin"
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["set.bin"]


def test_progress_is_for_terminals(web, tmp_path, capsys, monkeypatch):
    web.files["/a"] = CONTENT
    fetch(remote(f"{web.url}/a"), tmp_path)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    (tmp_path / "set.bin").unlink()
    fetch(remote(f"{web.url}/a"), tmp_path)
    assert capsys.readouterr().err.endswith("set.bin 0.3 / 0.3 MB\n")
