"""One open video that reads forward by counting frames, and seeks where that is exact and cheaper.

Counting what the decoder gives is right for every codec: it gives frames in the order of
presentation. Legend: H, W pixels.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream as Stream

from multibodies.data.photo import MAX_PIXELS
from multibodies.data.sources.video.times import Times, read_times
from multibodies.errors import UserError

FAR = 48  # frames ahead, below which decoding on is cheaper than looking for a key frame
DAMAGED = (FFmpegError, OSError, ValueError, IndexError, EOFError)

av.logging.set_libav_level(av.logging.PANIC)  # errors are raised; FFmpeg would print them as well


class VideoStream:
    """A video, the frame at which it stands, and the first frame that it cannot give."""

    def __init__(self, path: Path) -> None:
        """Open a video. Raises UserError when it is no video or its pictures are too large."""
        self.path = path
        self._end, self._why = sys.maxsize, ""
        self._times: Times | None = None
        self._times_read = False
        self._open()

    def close(self) -> None:
        """Free the decoder."""
        self._container.close()

    def read(self, index: int) -> npt.NDArray[np.uint8]:
        """Return the frame of that index as RGB [H, W, 3]. Raises UserError as `frame_of`."""
        if index < self._end:
            self._go(index)
        if self._at != index or self._frame is None:
            raise UserError(f"{self.path}: {self._why.format(index=index)}")
        return self._pixels(self._frame)

    def _open(self) -> None:
        """Stand before the first frame."""
        self._container, self._stream = open_video(self.path)
        self._stream.codec_context.thread_count = 1  # a process per core; no frames decoded ahead
        self._check_size(self._stream.width, self._stream.height)
        self._frames: Iterator[VideoFrame] = self._container.decode(self._stream)
        self._at = -1
        self._frame: VideoFrame | None = None

    def _restart(self) -> None:
        self.close()
        self._open()

    def _go(self, index: int) -> None:
        """Stand at that frame, or where the video ends."""
        if not self._at <= index <= self._at + FAR:
            self._jump(index)
        while self._at < index < self._end:
            self._advance()

    def _advance(self) -> None:
        """Step to the next frame, or learn that there is none."""
        try:
            frame = next(self._frames, None)
        except DAMAGED as error:
            self._end, self._why = (
                self._at + 1,
                f"damaged behind frame {self._at} ({error}); get the video again",
            )
            return
        if frame is None:
            self._stop_at(self._at + 1)
            return
        self._at, self._frame = self._at + 1, frame

    def _stop_at(self, count: int) -> None:
        self._end = count
        self._why = (
            f"video has {count} frames, the labels ask for frame {{index}} (from 0): "
            "get the whole video"
        )

    def _jump(self, index: int) -> None:
        """Seek where that saves decoding; else make sure that counting on leads to the frame."""
        times = self._trusted_times()
        if times is not None and index >= len(times.shown):
            self._stop_at(len(times.shown))
        elif times is not None and times.worth_seeking(self._at, index):
            if not self._seek(times, index):
                self._times = None  # the timestamps do not tell
                self._restart()
        elif index < self._at:
            self._restart()

    def _trusted_times(self) -> Times | None:
        """Return the frames' timestamps if they say the same as counting at the present frame."""
        if not self._times_read:
            self._times_read = True
            if self._frame is None:
                self._advance()
            if self._frame is not None:
                times = read_times(self.path)
                shown = () if times is None else times.shown[self._at : self._at + 1]
                self._times = times if list(shown) == [self._frame.pts] else None
        return self._times

    def _seek(self, times: Times, index: int) -> bool:
        """Decode from the key frame before the index up to the frame with its timestamp."""
        wanted = times.shown[index]
        try:
            self._container.seek(times.key_dts(index), stream=self._stream, backward=True)
            self._frames = self._container.decode(self._stream)
            for frame in self._frames:
                if frame.pts is None or frame.pts >= wanted:
                    self._at, self._frame = index, frame
                    return frame.pts == wanted
        except DAMAGED:
            pass
        return False

    def _pixels(self, frame: VideoFrame) -> npt.NDArray[np.uint8]:
        self._check_size(frame.width, frame.height)
        if frame.is_corrupt:
            raise UserError(f"{self.path}: frame {self._at} is damaged; get the video again")
        try:
            return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
        except DAMAGED as error:
            raise UserError(f"{self.path}: frame {self._at} is no picture ({error})") from None

    def _check_size(self, width: int, height: int) -> None:
        if width * height > MAX_PIXELS:
            raise UserError(
                f"{self.path}: {width}x{height} pixels, more than {MAX_PIXELS // 10**6} megapixels"
            )


def open_video(path: Path) -> tuple[InputContainer, Stream]:
    """Open a file and its first video stream. Raises UserError where it has none to decode."""
    try:
        container = av.open(str(path))
    except DAMAGED as error:
        raise UserError(f"{path}: not a video, or damaged ({error}); get the file again") from None
    stream = next(iter(container.streams.video), None)
    if stream is None or stream.codec_context is None:
        container.close()
        raise UserError(f"{path}: holds no video, or one of an unknown codec; get the file again")
    return container, stream
