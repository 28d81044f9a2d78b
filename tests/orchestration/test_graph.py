"""Where nodes stand and edges run."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.graph import BESIDE, NODE_HEIGHT, NODE_WIDTH, graph_of, lay_out


@st.composite
def shapes(draw):
    """Steps by name, each needing some of those before it."""
    count = draw(st.integers(0, 24))
    found = {}
    for number in range(count):
        needs = draw(st.sets(st.integers(0, number - 1), max_size=4)) if number else set()
        found[f"s{number}"] = [f"s{need}" for need in sorted(needs)]
    return found


def overlap(one, other):
    return abs(one.x - other.x) < NODE_WIDTH and abs(one.y - other.y) < NODE_HEIGHT


@settings(deadline=None)
@given(shapes())
def test_no_two_nodes_overlap_every_edge_goes_forward_and_all_lies_inside(shape):
    graph = lay_out(shape)
    nodes = {node.name: node for node in graph.nodes}
    assert list(nodes) == list(shape)
    placed = list(nodes.values())
    assert not [(a.name, b.name) for n, a in enumerate(placed) for b in placed[n + 1 :] if overlap(a, b)]
    assert {(edge.source, edge.target) for edge in graph.edges} == {(n, name) for name in shape for n in shape[name]}
    for edge in graph.edges:
        source, target = nodes[edge.source], nodes[edge.target]
        assert source.rank < target.rank
        if graph.flow == "right":
            assert source.x + NODE_WIDTH < target.x
        else:
            assert source.y + NODE_HEIGHT < target.y
    for node in placed:
        assert 0 <= node.x <= graph.width - NODE_WIDTH
        assert 0 <= node.y <= graph.height - NODE_HEIGHT


@settings(deadline=None)
@given(shapes())
def test_the_same_graph_is_always_laid_out_the_same(shape):
    assert lay_out(shape) == lay_out(dict(shape))


def test_a_chain_lies_on_one_line():
    graph = lay_out({"a": [], "b": ["a"], "c": ["b"]})
    assert graph.flow == "right"
    assert len({node.y for node in graph.nodes}) == 1
    assert [edge.path.count("C") for edge in graph.edges] == [1, 1]


def test_a_long_edge_passes_beside_the_nodes_between():
    shape = {"a": [], "b": ["a"], "c": ["b"], "d": ["c", "a"]}
    graph = lay_out(shape)
    long = next(edge for edge in graph.edges if (edge.source, edge.target) == ("a", "d"))
    middle = next(node for node in graph.nodes if node.name == "b")
    passes = float(long.path.split("L")[1].split()[1].partition("C")[0])
    assert passes < middle.y - BESIDE / 2 or passes > middle.y + NODE_HEIGHT + BESIDE / 2


def test_a_graph_with_all_edges_leaves_out_those_that_follow_from_others():
    shape = {f"s{n}": [f"s{m}" for m in range(n)] for n in range(100)}
    graph = lay_out(shape)
    assert {(edge.source, edge.target) for edge in graph.edges} == {(f"s{n}", f"s{n + 1}") for n in range(99)}
    assert graph.nodes[0].feeds == tuple(f"s{n}" for n in range(1, 100))


def test_what_was_laid_out_is_kept_by_its_digest():
    shape = {f"s{n}": [f"s{n // 3}"] if n else [] for n in range(200)}
    assert graph_of("d" * 64, shape) is graph_of("d" * 64, dict(shape))


@pytest.mark.parametrize("width", [2, 8, 40])
def test_two_hundred_nodes_take_no_time_that_a_reader_notices(width):
    """docs/performance.md has the figure; this holds only that it does not become another order of magnitude."""
    shape = {f"s{n}": sorted({f"s{m}" for m in (n - 1, n - width, n - 2 * width) if m >= 0}) for n in range(200)}
    began = time.process_time()
    lay_out(shape)
    assert time.process_time() - began < 1
