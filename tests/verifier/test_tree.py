"""Merkle trees are those of RFC 6962, for the writer and for the verifier, who share no code."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.store import merkle
from rotator.verifier.tree import Tree, proved_root

# The test vectors of Certificate Transparency's reference implementation.
ENTRIES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

BODIES = st.lists(st.text(max_size=8), min_size=1, max_size=70)


def tree(entries: list[bytes]) -> Tree:
    grown = Tree()
    for entry in entries:
        grown.add(entry)
    return grown


@pytest.mark.parametrize("size", range(len(ROOTS)))
def test_the_verifier_knows_the_reference_roots(size: int) -> None:
    assert tree(ENTRIES[:size]).root().hex() == ROOTS[size]


@given(BODIES, st.data())
def test_the_writer_grows_the_same_tree_in_whatever_steps(bodies: list[str], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(bodies)))
    grown = merkle.grown(merkle.grown((), 0, bodies[:cut]), cut, bodies[cut:])
    checked = tree([body.encode() for body in bodies])
    assert merkle.root(grown) == checked.root()
    assert grown == [subtree.hex() for subtree in checked.subtrees]


@given(BODIES, st.data())
def test_a_path_proves_its_event_and_no_other(bodies: list[str], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(bodies) - 1))
    before = data.draw(st.integers(0, index))  # so many were pruned
    pruned = merkle.grown((), 0, bodies[:before])
    path = [bytes.fromhex(step) for step in merkle.path(index, len(bodies), bodies[before:], before, pruned)]
    root = tree([body.encode() for body in bodies]).root()
    assert proved_root(bodies[index].encode(), index, len(bodies), path) == root
    assert proved_root(bodies[index].encode() + b"x", index, len(bodies), path) != root


@pytest.mark.parametrize(
    "change",
    [lambda path: path[:-1], lambda path: [*path, path[0]], lambda path: []],
    ids=["too short", "too long", "empty"],
)
def test_a_path_of_another_length_is_refused(change: Callable[[list[bytes]], list[bytes]]) -> None:
    path = [bytes.fromhex(step) for step in merkle.path(2, 7, list("abcdefg"))]
    with pytest.raises(ValueError, match="path is too"):
        proved_root(b"c", 2, 7, change(path))


def test_a_pruned_event_cannot_be_proved_without_its_export() -> None:
    with pytest.raises(LookupError):
        merkle.path(0, 3, ["c"], 2, merkle.grown((), 0, ["a", "b"]))
