"""A tree in memory that keeps its nodes as Postgres does."""

from vault.audit import merkle


class Tree:
    """Leaves as the auditor adds them: each completes some nodes."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.nodes: dict[merkle.Node, bytes] = {}
        edge: list[bytes] = []
        for size, leaf in enumerate(leaves):
            made, edge = merkle.grown(size, edge, merkle.leaf_hash(leaf))
            self.nodes.update(made)
        self.edge = edge

    def hashes(self, ranges: list[merkle.Range]) -> list[bytes]:
        return [merkle.range_hash(one, self.nodes.__getitem__) for one in ranges]
