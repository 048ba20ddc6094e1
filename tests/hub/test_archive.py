"""A zip file from anywhere writes only what was asked for, only where it belongs, and not a byte more."""

import io
import random
import stat
import struct
import time
import tracemalloc
import zipfile

import pytest

from gpt2demo.errors import FileError, LimitError, UserError
from gpt2demo.hub import archive
from gpt2demo.hub.archive import is_zip, matching, unpack

WANTED = matching(r"config\.json|model\.safetensors|deep/a\.txt")


@pytest.fixture
def pack(tmp_path):
    """(entries, …) → a zip file; an entry is a name or a ZipInfo, and its content."""

    def pack(*entries, how=zipfile.ZIP_DEFLATED, comment=b""):
        path = tmp_path / "model.zip"
        with zipfile.ZipFile(path, "w", how) as file:
            for name, content in entries:
                file.writestr(name, content)
            file.comment = comment
        return path

    return pack


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def files(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def taken(path, out, max_bytes=1_000_000):
    return unpack(path, out, wanted=WANTED, max_bytes=max_bytes)


@pytest.mark.parametrize("folder", ["", "my model/"])
@pytest.mark.parametrize("comment", [b"", b"made elsewhere"])
def test_wanted_files_come_out_and_others_stay_inside(pack, out, folder, comment):
    names = ("config.json", "README.md", "deep/a.txt")
    path = pack(*((folder + name, name * 1000) for name in names), ("__MACOSX/._x", "x"), comment=comment)
    result = taken(path, out)
    assert files(out) == {name: (name * 1000).encode() for name in ("config.json", "deep/a.txt")}
    assert result.files == ("config.json", "deep/a.txt") and result.damaged == ()
    assert set(result.ignored) == {"README.md", "__MACOSX/._x"}


@pytest.mark.parametrize(
    "name",
    [
        *("../config.json", "/etc/config.json", "a/../../config.json", "..\\config.json", "C:/config.json"),
        *("a//config.json", "./config.json", "a\nb/config.json", "a\x1b[31m/x", "\u202egnosj.gifnoc"),
    ],
)
def test_a_name_that_leads_elsewhere_refuses_the_whole_file(pack, out, tmp_path, name):
    before = sorted(tmp_path.rglob("*"))
    path = pack(("config.json", "{}"), (name, "evil"))
    with pytest.raises(FileError, match="leads elsewhere"):
        taken(path, out)
    assert sorted(tmp_path.rglob("*")) == sorted([*before, path])


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(pack, out, kind):
    info = zipfile.ZipInfo("config.json")
    info.external_attr = (kind | 0o777) << 16
    with pytest.raises(FileError, match="link or a device"):
        taken(pack((info, "/etc/passwd")), out)
    assert files(out) == {}


@pytest.mark.parametrize("how", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_rare_ways_of_packing_are_refused(pack, out, how):
    with pytest.raises(FileError, match="packed in another way"):
        taken(pack(("config.json", "{}"), how=how), out)


def test_a_password_is_refused(pack, out):
    path = pack(("config.json", "{}"))
    data = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        data[data.index(mark) + place] |= 1
    path.write_bytes(data)
    with pytest.raises(FileError, match="password"):
        taken(path, out)


def test_two_files_of_one_name_are_refused(pack, out):
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = pack(("config.json", "{}"), ("config.json", "[]"))
    with pytest.raises(FileError, match="two files of the same name"):
        taken(path, out)


def test_more_than_the_limit_is_refused_before_anything_is_written(pack, out):
    path = pack(("config.json", "x" * 600), ("model.safetensors", "y" * 600))
    with pytest.raises(LimitError, match="0.0 MB when it is unpacked"):
        taken(path, out, max_bytes=1_199)
    assert files(out) == {}
    assert taken(path, out, max_bytes=1_200).files


def test_a_full_disk_is_said_before_anything_is_written(pack, out, monkeypatch):
    monkeypatch.setattr(archive, "LEFT_FREE", 10**15)
    with pytest.raises(LimitError, match="GB must stay free"):
        taken(pack(("config.json", "{}")), out)
    assert files(out) == {}


def test_a_bomb_is_refused_at_once(pack, out):
    path = pack(("model.safetensors", b"\0" * 30_000_000))
    assert path.stat().st_size < 50_000
    began = time.perf_counter()
    with pytest.raises(FileError, match="100-fold"):
        taken(path, out, max_bytes=10**10)
    assert time.perf_counter() - began < 0.5 and files(out) == {}


def test_an_entry_that_is_longer_than_it_says_is_damaged(pack, out):
    path = pack(("config.json", b"x" * 5_000_000))
    data = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        struct.pack_into("<I", data, data.index(mark) + place, 100)
    path.write_bytes(data)
    assert taken(path, out).damaged == ("config.json",)
    assert files(out) == {}


def test_a_turned_bit_is_found_and_named_and_the_others_come_out(pack, out):
    path = pack(("config.json", "a" * 100), ("deep/a.txt", "b" * 100), how=zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[data.index(b"a" * 100) + 50] ^= 1
    path.write_bytes(data)
    result = taken(path, out)
    assert result.damaged == ("config.json",) and files(out) == {"deep/a.txt": b"b" * 100}


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"PK\x05\x06", b"PK\x03\x04" + b"\0" * 50, b"not a zip at all" * 10]
)
def test_what_is_no_zip_is_refused(tmp_path, out, content):
    (tmp_path / "model.zip").write_bytes(content)
    with pytest.raises(FileError, match="no whole zip file"):
        taken(tmp_path / "model.zip", out)


def test_what_is_not_there_is_refused(tmp_path, out):
    with pytest.raises(FileError, match="cannot be read"):
        taken(tmp_path / "model.zip", out)
    assert not is_zip(tmp_path / "model.zip") and not is_zip(tmp_path)


def test_a_list_of_a_million_files_takes_no_memory(tmp_path, out):
    names, entry = (
        200_000,
        struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", 0, 0, 0, 0, *[0] * 4, 0, 0, 0, *[0] * 5, 0, 0),
    )
    directory = entry * names
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, len(directory), 0, 0)
    path = tmp_path / "model.zip"
    path.write_bytes(directory + end)
    tracemalloc.start()
    began = time.perf_counter()
    with pytest.raises(FileError, match="list of contents is larger"):
        taken(path, out)
    assert time.perf_counter() - began < 0.5 and tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


def test_damaged_zip_files_are_refused_or_lose_the_damaged_files(tmp_path):
    buffer, luck = io.BytesIO(), random.Random(7)
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name in ("config.json", "model.safetensors", "deep/a.txt"):
            file.writestr(name, name * 30)
    whole, path, refused, lost = buffer.getvalue(), tmp_path / "model.zip", 0, 0
    for number in range(800):
        data = bytearray(whole)
        for _ in range(luck.randint(1, 3)):
            at = luck.randrange(len(data))
            if luck.random() < 0.2:
                del data[at : at + luck.choice((1, 10, 10_000))]
                data = data or bytearray(b"P")
            else:
                data[at] = luck.randrange(256)
        path.write_bytes(data)
        out = tmp_path / str(number)
        out.mkdir()
        try:
            lost += bool(taken(path, out).damaged)
        except UserError:
            refused += 1
        assert all(content == name.encode() * 30 for name, content in files(out).items())
    assert refused > 150 and lost > 150
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.isdigit()) == ["model.zip"]
