"""When each frame of a video is shown, from its packets, without decoding."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

import av
from av.error import FFmpegError

# Containers that store when a frame is shown. An AVI stores no more than the order of decoding,
# and what FFmpeg guesses from that is wrong for H.264 with B-frames.
STORES_TIMES = ("mp4", "matroska")


@dataclass(frozen=True)
class Times:
    """shown: timestamps of all frames, increasing; keys: indices of the key frames, increasing;
    dts: their timestamps in the order of decoding."""

    shown: tuple[int, ...]
    keys: tuple[int, ...]
    dts: tuple[int, ...]

    def worth_seeking(self, at: int, index: int) -> bool:
        """Tell whether the key frame before `index` is nearer than frame `at`, or the start."""
        key = self.keys[self._key(index)]
        return key > (at if at <= index else 0)

    def key_dts(self, index: int) -> int:
        """Return where to seek to for the last key frame that is not shown after `index`."""
        return self.dts[self._key(index)]

    def _key(self, index: int) -> int:
        return max(bisect_right(self.keys, index) - 1, 0)


def read_times(path: Path) -> Times | None:
    """Read the timestamps of all frames. None where the file does not give each frame its own."""
    try:
        with av.open(str(path)) as container:
            if not any(name in container.format.name for name in STORES_TIMES):
                return None
            stream = container.streams.video[0]
            packets = [
                (p.pts, p.dts, p.is_keyframe, p.is_discard)
                for p in container.demux(stream)
                if p.size
            ]
    except (FFmpegError, OSError, ValueError):
        return None
    return _times(packets)


def _times(packets: list[tuple[int | None, int | None, bool, bool]]) -> Times | None:
    shown = {pts for pts, _, _, discard in packets if pts is not None and not discard}
    if len(shown) < len(packets) or not shown:
        return None
    order = {pts: index for index, pts in enumerate(sorted(shown))}
    keys = sorted(
        (order[pts], dts)
        for pts, dts, is_key, _ in packets
        if is_key and pts is not None and dts is not None
    )
    if not keys:
        return None
    return Times(tuple(order), tuple(k for k, _ in keys), tuple(d for _, d in keys))
