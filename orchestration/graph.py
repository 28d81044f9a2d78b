"""Where the nodes of a definition's graph stand and how its edges run. The same graph is always laid out the same.

The ranks are longest paths from the start. An edge over several ranks passes through a gap kept free in each rank
between, one for all such edges of a node. Ranks are ordered by barycentres, then each node is moved as near to its
neighbours as order and gaps allow.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

NODE_WIDTH, NODE_HEIGHT = 176, 56
BESIDE = 20  # between two nodes of a rank
BETWEEN = 48  # between two ranks
GAP = 14  # what an edge takes up in a rank that it passes
PADDING = 8
MOST_GAPS = 3_000  # above, edges that follow from others are left out
FEW_GAPS = 800  # up to here the ranks are swept often
SWEEPS, FEW_SWEEPS = 6, 2
RANKS_TO_THE_RIGHT = 4  # so many fit beside each other; a longer graph runs down, unless that would be wider


@dataclass(frozen=True, slots=True)
class Node:
    """`x` and `y` are of its upper corner on the start side, in pixels. `needs` and `feeds` are names."""

    number: int
    name: str
    rank: int
    x: int
    y: int
    needs: tuple[str, ...]
    feeds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Edge:
    source: str
    target: str
    path: str  # of SVG


@dataclass(frozen=True, slots=True)
class Graph:
    """`flow` is right or down."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    width: int
    height: int
    flow: str


def graph_of(digest: str, needs: Mapping[str, Sequence[str]]) -> Graph:
    """Of steps by name, in the definition's order, each with the names it needs; kept by the version's digest."""
    return _graph(digest, tuple((name, tuple(wanted)) for name, wanted in needs.items()))


@lru_cache(maxsize=256)
def _graph(digest: str, shape: tuple[tuple[str, tuple[str, ...]], ...]) -> Graph:
    return lay_out(dict(shape))


def lay_out(needs: Mapping[str, Sequence[str]]) -> Graph:
    names = list(needs)
    number_of = {name: number for number, name in enumerate(names)}
    edges = [(number_of[need], number_of[name]) for name in names for need in needs[name] if need in number_of]
    ranks = _ranks(len(names), edges)
    flow = _flow(ranks)
    layers = _Layers(ranks, edges, NODE_HEIGHT if flow == "right" else NODE_WIDTH)
    layers.order()
    across = layers.places()
    pitch = BETWEEN + (NODE_WIDTH if flow == "right" else NODE_HEIGHT)
    along = [PADDING + rank * pitch for rank in layers.rank_of]

    def corner(node: int) -> tuple[int, int]:
        return (along[node], across[node]) if flow == "right" else (across[node], along[node])

    feeds: dict[int, list[str]] = {number: [] for number in range(len(names))}
    for source, target in edges:
        feeds[source].append(names[target])
    nodes = tuple(
        Node(number, name, ranks[number], *corner(number), tuple(needs[name]), tuple(feeds[number]))
        for number, name in enumerate(names)
    )
    drawn = tuple(
        Edge(names[path[0]], names[path[-1]], _path([corner(node) for node in path], layers.sizes_of(path), flow))
        for path in layers.paths
    )
    return Graph(
        nodes,
        drawn,
        width=max((node.x for node in nodes), default=0) + NODE_WIDTH + PADDING,
        height=max((node.y for node in nodes), default=0) + NODE_HEIGHT + PADDING,
        flow=flow,
    )


def _flow(ranks: Sequence[int]) -> str:
    depth = max(ranks, default=0) + 1
    widest = max(Counter(ranks).values(), default=1)
    goes_right = depth <= RANKS_TO_THE_RIGHT or depth * (NODE_WIDTH + BETWEEN) <= widest * (NODE_WIDTH + BESIDE)
    return "right" if goes_right else "down"


def _ranks(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """The longest path to each. A definition has no circles; of other input, what lies in one keeps rank 0."""
    after: list[list[int]] = [[] for _ in range(count)]
    missing = [0] * count
    for source, target in edges:
        after[source].append(target)
        missing[target] += 1
    ranks = [0] * count
    waiting = [node for node in range(count) if not missing[node]]
    while waiting:
        node = waiting.pop()
        for target in after[node]:
            ranks[target] = max(ranks[target], ranks[node] + 1)
            missing[target] -= 1
            if not missing[target]:
                waiting.append(target)
    return ranks


class _Layers:
    """Nodes, and the gaps for edges that pass, by rank. The first `real` numbers are nodes, the others gaps."""

    def __init__(self, ranks: Sequence[int], edges: Sequence[tuple[int, int]], size: int) -> None:
        self.real, self.size = len(ranks), size
        self.rank_of = list(ranks)
        edges = sorted({(source, target) for source, target in edges if ranks[source] < ranks[target]})
        if _gaps(ranks, edges) > MOST_GAPS:
            edges = _without_implied(self.real, edges)
        self.paths: list[list[int]] = []
        last: dict[tuple[int, int], int] = {}  # (source, rank) -> its gap there
        links: set[tuple[int, int]] = set()
        for source, target in edges:
            path = [source]
            for rank in range(ranks[source] + 1, ranks[target]):
                if (source, rank) not in last:
                    last[source, rank] = len(self.rank_of)
                    self.rank_of.append(rank)
                path.append(last[source, rank])
            path.append(target)
            self.paths.append(path)
            links.update(pairwise(path))
        count = len(self.rank_of)
        self.before: list[list[int]] = [[] for _ in range(count)]
        self.after: list[list[int]] = [[] for _ in range(count)]
        for source, target in sorted(links):
            self.after[source].append(target)
            self.before[target].append(source)
        self.layers: list[list[int]] = [[] for _ in range(max(self.rank_of, default=-1) + 1)]
        for node, rank in enumerate(self.rank_of):
            self.layers[rank].append(node)
        self.sweeps = SWEEPS if count - self.real <= FEW_GAPS else FEW_SWEEPS

    def order(self) -> None:
        place = [0.0] * len(self.rank_of)
        for layer in self.layers:
            for index, node in enumerate(layer):
                place[node] = float(index)
        for sweep in range(self.sweeps):
            down = sweep % 2 == 0
            neighbours = self.before if down else self.after
            for layer in self.layers if down else reversed(self.layers):
                middle = {
                    node: sum(place[other] for other in near) / len(near) if (near := neighbours[node]) else place[node]
                    for node in layer
                }
                layer.sort(key=lambda node: (middle[node], place[node], node))
                for index, node in enumerate(layer):
                    place[node] = float(index)

    def places(self) -> list[int]:
        """The coordinate across the flow of each, from PADDING on."""
        place = [0.0] * len(self.rank_of)
        for layer in self.layers:
            for node, found in zip(layer, self._kept_apart(layer, [0.0] * len(layer)), strict=True):
                place[node] = found
        for sweep in range(self.sweeps):
            down = sweep % 2 == 0
            for layer in self.layers if down else reversed(self.layers):
                wanted = []
                for node in layer:
                    near = (self.before if down else self.after)[node] or (self.after if down else self.before)[node]
                    half = self._size(node) / 2
                    middle = [place[other] + self._size(other) / 2 for other in near]
                    wanted.append(sum(middle) / len(middle) - half if middle else place[node])
                for node, found in zip(layer, self._kept_apart(layer, wanted), strict=True):
                    place[node] = found
        least = min(place[: self.real], default=0.0)
        least = min(least, *place) if place else least
        return [int(value - least + PADDING + 0.5) for value in place]

    def sizes_of(self, path: Sequence[int]) -> list[int]:
        return [self._size(node) for node in path]

    def _size(self, node: int) -> int:
        return self.size if node < self.real else GAP

    def _kept_apart(self, layer: Sequence[int], wanted: Sequence[float]) -> list[float]:
        """As near to where each wants to be (least squares) as their order and the gaps between them allow."""
        offsets, offset = [], 0.0
        for node in layer:
            offsets.append(offset)
            offset += self._size(node) + BESIDE
        blocks: list[tuple[float, int]] = []  # (sum, how many): neighbours that touch move as one
        for want, offset in zip(wanted, offsets, strict=True):
            total, count = want - offset, 1
            while blocks and blocks[-1][0] / blocks[-1][1] >= total / count:
                before, more = blocks.pop()
                total, count = total + before, count + more
            blocks.append((total, count))
        starts = [total / count for total, count in blocks for _ in range(count)]
        return [start + offset for start, offset in zip(starts, offsets, strict=True)]


def _gaps(ranks: Sequence[int], edges: Sequence[tuple[int, int]]) -> int:
    furthest: dict[int, int] = {}
    for source, target in edges:
        furthest[source] = max(furthest.get(source, 0), ranks[target] - ranks[source] - 1)
    return sum(furthest.values())


def _without_implied(count: int, edges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Without those from A to C where A leads to C by way of others too."""
    after: list[list[int]] = [[] for _ in range(count)]
    for source, target in edges:
        after[source].append(target)
    reached: dict[int, int] = {}  # bit n: leads to node n, by one edge or more
    order: list[int] = []
    seen = [False] * count
    for start in range(count):
        stack = [(start, False)]
        while stack:
            node, is_done = stack.pop()
            if is_done:
                order.append(node)
            elif not seen[node]:
                seen[node] = True
                stack.append((node, True))
                stack += [(target, False) for target in after[node]]
    for node in order:  # targets come before their sources
        reached[node] = 0
        for target in after[node]:
            reached[node] |= reached[target] | 1 << target
    return [
        (source, target)
        for source, target in edges
        if not any(reached[other] >> target & 1 for other in after[source] if other != target)
    ]


def _path(corners: Sequence[tuple[int, int]], sizes: Sequence[int], flow: str) -> str:
    """From the end of the first, straight through the gaps, to the start of the last."""
    long = NODE_WIDTH if flow == "right" else NODE_HEIGHT
    parts = []
    ax, ay = 0, 0
    for number, ((x, y), size) in enumerate(zip(corners, sizes, strict=True)):
        if flow == "right":
            (in_x, in_y), (out_x, out_y) = (x, y + size // 2), (x + long, y + size // 2)
        else:
            (in_x, in_y), (out_x, out_y) = (x + size // 2, y), (x + size // 2, y + long)
        if number == 0:
            parts.append(f"M{out_x} {out_y}")
        else:
            if flow == "right":
                middle = (ax + in_x) // 2
                parts.append(f"C{middle} {ay} {middle} {in_y} {in_x} {in_y}")
            else:
                middle = (ay + in_y) // 2
                parts.append(f"C{ax} {middle} {in_x} {middle} {in_x} {in_y}")
            if number < len(corners) - 1:
                parts.append(f"L{out_x} {out_y}")
        ax, ay = out_x, out_y
    return "".join(parts)
