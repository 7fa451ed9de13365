"""Frames of videos by index, with the last few videos kept open. Legend: H, W pixels."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from threading import Lock

import numpy as np
import numpy.typing as npt

from multibodies.data.sources.video.stream import VideoStream
from multibodies.errors import UserError

OPEN_VIDEOS = 4  # a process; each holds its decoder's frames, some twenty

_Key = tuple[str, int, int]
_open: OrderedDict[_Key, VideoStream] = OrderedDict()
_lock = Lock()


def frame_of(path: str | Path, index: int) -> npt.NDArray[np.uint8]:
    """Decode the frame of that index (from 0, in the order of presentation): RGB [H, W, 3].

    Reads in increasing order decode each frame once, for the last OPEN_VIDEOS videos of this
    process. Raises UserError naming the file when it is missing, no video, damaged before the
    frame, over 80 megapixels, or shorter than the index.
    """
    if index < 0:
        raise UserError(f"{path}: the labels ask for frame {index}; frames count from 0")
    with _lock:
        return _stream(Path(path)).read(index)


def close_videos() -> None:
    """Close every video that this process holds open."""
    with _lock:
        while _open:
            _open.popitem()[1].close()


def _stream(path: Path) -> VideoStream:
    """Return the open stream of the file as it is now."""
    if not path.is_file():
        raise UserError(f"{path}: no such video file")
    stat = path.stat()
    key = (str(path), stat.st_size, stat.st_mtime_ns)
    if key not in _open:
        while len(_open) >= OPEN_VIDEOS:
            _open.popitem(last=False)[1].close()
        _open[key] = VideoStream(path)
    _open.move_to_end(key)
    return _open[key]
