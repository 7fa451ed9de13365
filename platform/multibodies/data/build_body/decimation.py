"""Stage 4: half-edge collapses on the template's left half, mirrored, to exactly 6890 vertices.

Quadric error metric (Garland and Heckbert 1997) on half-edges, so that every kept vertex is one of
the template's and keeps its weights and its place in every sample.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Final

import numpy as np

from multibodies.data.build_body.common import Array, Index, Mask

Face = tuple[int, int, int]
EDGE_COST: Final = 0.03  # of a squared edge length, beside the quadric's: keeps triangles even
MAX_TURN: Final = 0.5  # a face's normal may turn until this cosine
MIN_SHAPE: Final = 0.12  # twice the area over the longest edge squared


@dataclass(frozen=True)
class Thinned:
    """Kept vertices by their old numbers, and faces of old numbers, right half included."""

    left: Index
    middle: Index
    right: Index
    faces: Index


def importance(weights: Array) -> Array:
    """Cost factor of each vertex: MakeHuman's head, toes and hands are far denser than SMPL's."""
    head, toes, hands = weights[:, 15], weights[:, [10, 11]].sum(1), weights[:, 20:24].sum(1)
    return np.asarray(1 - 0.55 * head - 0.35 * toes - 0.25 * hands)


def decimate(
    points: Array, faces: Index, sides: Array, mirror: Index, factor: Array, target: int
) -> Thinned:
    """Collapse the cheapest half-edges of the left half until both halves have ``target`` vertices.

    points [N, 3], faces [F, 3], sides [N] = the template's x, mirror [N], factor [N] of the cost.
    """
    middle, left = np.abs(sides) < 1e-5, sides > 1e-5
    half = faces[(left | middle)[faces].all(1)]
    straddles = left[faces].any(1) & (~left & ~middle)[faces].any(1)
    assert not straddles.any(), "faces must not straddle the midline"
    points = points.copy()
    points[middle, 0] = 0
    mesh = _HalfMesh(points, half, middle, factor)
    mesh.collapse_to(target)
    kept = np.array(sorted(mesh.faces_at))
    kept_half = np.array(list(mesh.faces.values()))
    kept_left = kept[~middle[kept]]
    both = np.concatenate([kept_half, mirror[kept_half][:, ::-1]])
    return Thinned(kept_left, kept[middle[kept]], mirror[kept_left], both)


class _HalfMesh:
    """The left half: faces, faces around each vertex, quadrics, and a heap of collapses u -> v."""

    def __init__(self, points: Array, faces: Index, middle: Mask, factor: Array) -> None:
        self.points, self.middle, self.factor = points, middle, factor
        self.faces: dict[int, Face] = {
            i: (int(a), int(b), int(c)) for i, (a, b, c) in enumerate(faces)
        }
        self.faces_at: dict[int, set[int]] = {}
        for i, face in self.faces.items():
            for v in face:
                self.faces_at.setdefault(v, set()).add(i)
        self.quadric = {v: np.zeros((4, 4)) for v in self.faces_at}
        self.area = dict.fromkeys(self.faces_at, 0.0)
        for face in self.faces.values():
            self._add_plane(face)
        self.stamp = dict.fromkeys(self.faces_at, 0)
        self.heap: list[tuple[float, int, int, int, int]] = []
        for u in self.faces_at:
            self._push(u)

    def collapse_to(self, target: int) -> None:
        """Collapse until the whole body, both halves, has ``target`` vertices."""
        middle = sum(bool(self.middle[v]) for v in self.faces_at)
        total = 2 * (len(self.faces_at) - middle) + middle
        while total > target:
            _, u, v, stamp_u, stamp_v = heapq.heappop(self.heap)
            if self.stamp.get(u) != stamp_u or self.stamp.get(v) != stamp_v:
                continue
            removed = 1 if self.middle[u] else 2
            if total - removed >= target and self._collapse(u, v):
                total -= removed

    def _collapse(self, u: int, v: int) -> bool:
        """Move u onto v if the surface stays one and no face folds; say whether it was done."""
        gone = [f for f in self.faces_at[u] if v in self.faces[f]]
        if not self._is_safe(u, v, len(gone)):
            return False
        moved: dict[int, Face] = {}
        for f in self.faces_at[u]:
            if f in gone:
                continue
            a, b, c = (v if w == u else w for w in self.faces[f])
            if self._folds(self.faces[f], (a, b, c)):
                return False
            moved[f] = (a, b, c)
        for f in gone:
            for w in self.faces.pop(f):
                self.faces_at[w].discard(f)
        self.faces.update(moved)
        self.faces_at[v].update(moved)
        self._merge(u, v)
        return True

    def _merge(self, u: int, v: int) -> None:
        """Give u's quadric to v, forget u, and price the edges around v again."""
        self.quadric[v] += self.quadric[u]
        self.area[v] += self.area[u]
        del self.faces_at[u], self.stamp[u]
        around = self._ring(v) | {v}
        for w in around:
            self.stamp[w] += 1
        for w in around:
            self._push(w)

    def _is_safe(self, u: int, v: int, shared: int) -> bool:
        """The link condition, with the midline as a border, and no vertex left with two faces."""
        common = self._ring(u) & self._ring(v)
        wanted = 1 if self.middle[u] else 2
        if shared != wanted or len(common) != wanted:
            return False
        return all(len(self.faces_at[w]) > 3 for w in common if not self.middle[w])

    def _folds(self, before: Face, after: Face) -> bool:
        old, new = self._normal(before), self._normal(after)
        old_length, new_length = np.linalg.norm(old), np.linalg.norm(new)
        a, b, c = self.points[list(after)]
        longest = max(((a - c) ** 2).sum(), ((b - a) ** 2).sum(), ((c - b) ** 2).sum())
        turned = old @ new < MAX_TURN * old_length * new_length
        thin = new_length < MIN_SHAPE * longest
        return bool(turned or thin or self.middle[list(after)].all())

    def _add_plane(self, face: Face) -> None:
        normal = self._normal(face)
        area = np.linalg.norm(normal)
        normal = normal / (area + 1e-20)
        plane = np.append(normal, -normal @ self.points[face[0]])
        for v in face:
            self.quadric[v] += np.outer(plane, plane) * area
            self.area[v] += float(area)

    def _normal(self, face: Face) -> Array:
        a, b, c = self.points[list(face)]
        return np.asarray(np.cross(b - a, c - a))

    def _ring(self, v: int) -> set[int]:
        return {w for f in self.faces_at[v] for w in self.faces[f]} - {v}

    def _push(self, u: int) -> None:
        for v in self._ring(u):
            if not self.middle[u] or self.middle[v]:  # the midline stays on itself
                entry = (self._cost(u, v), u, v, self.stamp[u], self.stamp[v])
                heapq.heappush(self.heap, entry)

    def _cost(self, u: int, v: int) -> float:
        place = np.append(self.points[v], 1)
        length = ((self.points[u] - self.points[v]) ** 2).sum()
        quadric = place @ self.quadric[u] @ place
        return float(self.factor[u] * (quadric + EDGE_COST * self.area[u] * length))
