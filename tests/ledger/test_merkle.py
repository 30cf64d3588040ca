"""The tree against published answers, against its definition, and against every small change of a proof."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.ledger.merkle import (
    EMPTY_ROOT,
    MAX_SIZE,
    Frontier,
    ProofError,
    consistency_proof,
    consistency_ranges,
    inclusion_proof,
    inclusion_ranges,
    leaf_hash,
    leaf_hashes,
    nodes_of,
    range_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from tests.ledger import known
from tests.ledger.naive import NaiveTree
from tests.ledger.support import TiledTree, flip

LARGEST = 300
ENTRIES = [b"entry %d" % number for number in range(LARGEST)]
NAIVE = NaiveTree(ENTRIES)
TREE = TiledTree()
TREE.append(ENTRIES)


def refused(error: pytest.ExceptionInfo[ProofError]) -> str:
    return error.value.code


def test_roots_of_the_known_leaves() -> None:
    for size, root in enumerate(known.ROOTS):
        assert root_of(leaf_hashes(known.LEAVES[:size])).hex() == root
    assert EMPTY_ROOT.hex() == known.ROOTS[0]


def test_known_proofs() -> None:
    tree = TiledTree()
    tree.append(known.LEAVES)
    inclusion = inclusion_proof(5, 8, tree.read)
    consistency = consistency_proof(6, 8, tree.read)
    assert [each.hex() for each in inclusion] == known.INCLUSION_5_OF_8
    assert [each.hex() for each in consistency] == known.CONSISTENCY_6_TO_8
    roots = [bytes.fromhex(root) for root in known.ROOTS]
    verify_inclusion(leaf_hash(known.LEAVES[5]), 5, 8, inclusion, roots[8])
    verify_consistency(6, 8, consistency, roots[6], roots[8])


def test_growing_leaf_by_leaf_agrees_with_the_definition() -> None:
    frontier = Frontier()
    for size, entry in enumerate(ENTRIES):
        assert frontier.root() == NAIVE.root(size)
        assert frontier.size == size
        frontier.extend([leaf_hash(entry)])
    assert frontier.root() == NAIVE.root(LARGEST)


def test_every_root_from_tiles_agrees_with_the_definition() -> None:
    for size in range(LARGEST + 1):
        assert range_hash((0, size), TREE.read) == NAIVE.root(size)
        frontier = Frontier.resume(size, TREE.read)
        assert frontier.root() == Frontier(size, frontier.nodes).root() == NAIVE.root(size)


def test_every_inclusion_proof_agrees_with_the_definition_and_verifies() -> None:
    read = cache(TREE.read)
    for size in range(1, LARGEST + 1):
        for index in range(size):
            path = inclusion_proof(index, size, read)
            assert path == NAIVE.path(index, size)
            verify_inclusion(read((0, index)), index, size, path, NAIVE.root(size))


def test_proofs_need_few_nodes() -> None:
    """What has to be fetched grows with the logarithm of the size."""
    for size in (1_000, 1_000_000, 2**40):
        ranges = inclusion_ranges(size // 3, size) + consistency_ranges(size // 3, size)
        assert len(list(nodes_of(ranges))) <= 5 * size.bit_length()


def test_every_consistency_proof_agrees_with_the_definition_and_verifies() -> None:
    read = cache(TREE.read)
    for size in range(1, LARGEST + 1):
        for old_size in range(1, size + 1):
            path = consistency_proof(old_size, size, read)
            assert path == NAIVE.proof(old_size, size)
            verify_consistency(old_size, size, path, NAIVE.root(old_size), NAIVE.root(size))


sizes = st.integers(1, LARGEST)
places = sizes.flatmap(lambda size: st.tuples(st.integers(0, size - 1), st.just(size)))


@given(places)
@settings(max_examples=12)
def test_every_bit_of_an_inclusion_proof_matters(place: tuple[int, int]) -> None:
    index, size = place
    leaf, root, path = leaf_hash(ENTRIES[index]), NAIVE.root(size), NAIVE.path(index, size)
    for bit in range(256):
        with pytest.raises(ProofError, match="root"):
            verify_inclusion(flip(leaf, bit), index, size, path, root)
        with pytest.raises(ProofError, match="root"):
            verify_inclusion(leaf, index, size, path, flip(root, bit))
        for at, each in enumerate(path):
            with pytest.raises(ProofError, match="root"):
                verify_inclusion(leaf, index, size, [*path[:at], flip(each, bit), *path[at + 1 :]], root)
    for bit in range(64):
        with pytest.raises(ProofError):
            verify_inclusion(leaf, index ^ 1 << bit, size, path, root)
        other = size ^ 1 << bit
        if not _same_way(index, size, other):
            with pytest.raises(ProofError):
                verify_inclusion(leaf, index, other, path, root)


def _same_way(index: int, size: int, other: int) -> bool:
    """Whether a leaf has the same way to the root in trees of two sizes, as far as a path can show: left or right."""

    def turns(count: int) -> list[bool]:
        return [start < index for start, _ in inclusion_ranges(index, count)]

    return index < other <= MAX_SIZE and turns(size) == turns(other)


@given(st.tuples(sizes, sizes).map(sorted).filter(lambda pair: pair[0] < pair[1]))
@settings(max_examples=12)
def test_every_bit_of_a_consistency_proof_matters(pair: list[int]) -> None:
    old_size, size = pair
    old_root, root, path = NAIVE.root(old_size), NAIVE.root(size), NAIVE.proof(old_size, size)
    for bit in range(256):
        with pytest.raises(ProofError, match="root"):
            verify_consistency(old_size, size, path, flip(old_root, bit), root)
        with pytest.raises(ProofError, match="root"):
            verify_consistency(old_size, size, path, old_root, flip(root, bit))
        for at, each in enumerate(path):
            with pytest.raises(ProofError, match="root"):
                verify_consistency(old_size, size, [*path[:at], flip(each, bit), *path[at + 1 :]], old_root, root)
    for bit in range(64):
        with pytest.raises(ProofError):
            verify_consistency(old_size ^ 1 << bit, size, path, old_root, root)
        other = size ^ 1 << bit
        if not (old_size <= other <= MAX_SIZE and _same_join(old_size, size, other)):
            with pytest.raises(ProofError):
                verify_consistency(old_size, other, path, old_root, root)


def _same_join(old_size: int, size: int, other: int) -> bool:
    """Whether the old tree joins trees of two sizes in the same way: then only a signed size tells them apart."""

    def turns(count: int) -> list[bool]:
        return [start < old_size for start, _ in consistency_ranges(old_size, count)]

    return turns(size) == turns(other)


@given(places, st.integers(0, 31))
@settings(max_examples=12)
def test_proofs_of_the_wrong_form_are_refused(place: tuple[int, int], length: int) -> None:
    index, size = place
    leaf, root, path = leaf_hash(ENTRIES[index]), NAIVE.root(size), NAIVE.path(index, size)
    wrong = [[*path, root], [leaf, *path], [*path, b"\0" * 32], *([path[:-1], path[1:]] if path else [])]
    for each in wrong:
        with pytest.raises(ProofError) as error:
            verify_inclusion(leaf, index, size, each, root)
        assert refused(error) == "path_length"
    for at in range(len(path)):
        with pytest.raises(ProofError) as error:
            verify_inclusion(leaf, index, size, [*path[:at], path[at][:length], *path[at + 1 :]], root)
        assert refused(error) == "hash_size"
    for args in ((leaf[:length], path, root), (leaf + b"x", path, root), (leaf, path, root[:length])):
        with pytest.raises(ProofError) as error:
            verify_inclusion(args[0], index, size, args[1], args[2])
        assert refused(error) == "hash_size"


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (8, 8), (-1, 8), (2**63, 2**63 + 1), (0, -1)])
def test_an_index_outside_the_tree_is_refused(index: int, size: int) -> None:
    with pytest.raises(ProofError) as error:
        verify_inclusion(EMPTY_ROOT, index, size, [], EMPTY_ROOT)
    assert refused(error) in {"index_range", "size_range"}
    with pytest.raises(ProofError):
        inclusion_ranges(index, size)


@pytest.mark.parametrize(("old_size", "size"), [(0, 0), (0, 8), (9, 8), (-1, 8), (1, 2**63)])
def test_sizes_that_prove_nothing_are_refused(old_size: int, size: int) -> None:
    with pytest.raises(ProofError) as error:
        verify_consistency(old_size, size, [], EMPTY_ROOT, EMPTY_ROOT)
    assert refused(error) == "size_range"
    with pytest.raises(ProofError):
        consistency_ranges(old_size, size)


def test_equal_sizes_are_consistent_with_equal_roots_alone() -> None:
    root = NAIVE.root(8)
    verify_consistency(8, 8, [], root, root)
    for path, other, code in (([], flip(root, 0), "root_mismatch"), ([root], root, "path_length")):
        with pytest.raises(ProofError) as error:
            verify_consistency(8, 8, path, other, root)
        assert refused(error) == code


def test_a_forked_history_has_no_consistency_proof() -> None:
    fork = NaiveTree([*ENTRIES[:6], b"another", *ENTRIES[7:]])
    for path in (NAIVE.proof(7, 20), fork.proof(7, 20)):
        with pytest.raises(ProofError, match="root"):
            verify_consistency(7, 20, path, fork.root(7), NAIVE.root(20))


def test_a_frontier_refuses_what_is_not_an_edge() -> None:
    with pytest.raises(ProofError) as error:
        Frontier(3, [EMPTY_ROOT])
    assert refused(error) == "path_length"
    with pytest.raises(ProofError) as error:
        Frontier(1, [b"short"])
    assert refused(error) == "hash_size"
    with pytest.raises(ProofError) as error:
        Frontier(-1)
    assert refused(error) == "size_range"
    with pytest.raises(ProofError) as error:
        Frontier().extend([b"short"])
    assert refused(error) == "hash_size"


@given(st.lists(st.integers(0, 700), max_size=6))
@settings(max_examples=40)
def test_appending_in_any_batches_gives_the_same_tree(batches: list[int]) -> None:
    entries = [b"%d" % number for number in range(sum(batches))]
    tree, frontier = TiledTree(), Frontier()
    for count in batches:
        tree.append(entries[tree.size : tree.size + count])
    frontier.extend(leaf_hashes(entries))
    assert range_hash((0, tree.size), tree.read) == frontier.root() == NaiveTree(entries).root(len(entries))
