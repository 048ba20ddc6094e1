"""Ids, owners and titles: what may come in from outside."""

import pytest

from gpt2demo.errors import ConfigError, LimitError, NotFoundError
from gpt2demo.runs.identity import checked_title, is_owner, new_id, new_owner, owner_key, resolve_in

PATH_LIKE = [
    "",
    ".",
    "..",
    "../../etc/passwd",
    "..%2f..%2fetc%2fpas",
    "a/../../../../..",
    "/etc/passwd00000",
    "C:\\windows\\syst.",
    "CON",
    "runs.sqlite",
    ".unfinished",
    "a" * 15,
    "a" * 17,
    "a" * 300,
    "a" * 15 + "\n",
    "a" * 16 + "\n",
    "a" * 15 + "\0",
    "a" * 15 + "é",
    "a" * 15 + "/",
    "a" * 15 + "٣",
    None,
    7,
    ["a" * 16],
    b"a" * 16,
]


@pytest.mark.parametrize("id", PATH_LIKE)
def test_what_is_no_id_never_becomes_a_path(tmp_path, id):
    with pytest.raises(NotFoundError) as caught:
        resolve_in(tmp_path, id)
    assert caught.value.got and caught.value.needed and caught.value.todo


def test_an_id_becomes_a_folder_below_the_root(tmp_path):
    id = new_id()
    assert resolve_in(tmp_path, id) == tmp_path / id


def test_a_link_is_no_run(tmp_path):
    (tmp_path / ("a" * 16)).symlink_to("/etc")
    with pytest.raises(NotFoundError):
        resolve_in(tmp_path, "a" * 16)


def test_ids_are_all_different_and_never_look_like_options():
    ids = {new_id() for _ in range(2_000)}
    assert len(ids) == 2_000
    assert all(len(id) == 16 and not id.startswith("-") for id in ids)


def test_an_owner_has_at_least_128_bits():
    owner = new_owner()
    assert is_owner(owner) and len(owner_key(owner)) == 64
    assert owner_key(owner) != owner_key(new_owner())
    for bad in ("", "short", "x" * 65, "x" * 21 + "\n", None, 5):
        assert not is_owner(bad)
        with pytest.raises(ConfigError):
            owner_key(bad)


def test_a_title_is_one_visible_line():
    assert checked_title("  My\tcats\n\x00and\u202e dogs ") == "My cats and dogs"
    assert checked_title("é" * 80) == "é" * 80
    for bad in ("x" * 81, "x" * 10_000_000):
        with pytest.raises(LimitError):
            checked_title(bad)
    for bad in ("", "  \n", None, 5):
        with pytest.raises(ConfigError):
            checked_title(bad)
