"""Video frames by index: pictures that carry their own number, in codecs that reorder frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import av
import numpy as np
import numpy.typing as npt
import pytest
from av.video.stream import VideoStream

from multibodies.data.sources.video import reader as video
from multibodies.data.sources.video import stream as video_stream
from multibodies.data.sources.video.reader import close_videos, frame_of
from multibodies.data.sources.video.times import read_times
from multibodies.errors import UserError

COUNT = 120
# H.264 in an AVI has B-frames but no time of presentation; in MPEG-4 FFmpeg guesses it right.
KINDS = {
    "h264.mp4": "libx264",
    "mpeg4.mp4": "mpeg4",
    "h264.avi": "libx264",
    "mpeg4.avi": "mpeg4",
    "h264.mkv": "libx264",
}


def numbered(index: int) -> npt.NDArray[np.uint8]:
    """A picture of eight bars, black or white: the index in binary."""
    bits = np.array([(index >> k) & 1 for k in range(8)], np.uint8)
    return np.broadcast_to((255 * bits).repeat(16)[None, :, None], (96, 128, 3)).copy()


def number_in(picture: npt.NDArray[np.uint8]) -> int:
    bars = picture.mean((0, 2)).reshape(8, 16)[:, 4:12].mean(1) > 127
    return int((bars << np.arange(8)).sum())


def write_video(path: Path, codec: str, count: int = COUNT, options: str = "") -> Path:
    settings = {"x264-params": options} if options else {}
    with av.open(str(path), "w") as container:
        stream = cast(VideoStream, container.add_stream(codec, rate=25, options=settings))
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        stream.codec_context.gop_size = 20
        stream.codec_context.max_b_frames = 2
        for index in range(count):
            picture = av.VideoFrame.from_ndarray(numbered(index), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def decode_all(path: Path) -> list[npt.NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        return [
            frame.to_ndarray(format="rgb24").astype(np.uint8) for frame in container.decode(video=0)
        ]


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    close_videos()
    yield
    close_videos()


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("videos")
    return {name: write_video(folder / name, codec) for name, codec in KINDS.items()}


@pytest.fixture(scope="module")
def whole(videos: dict[str, Path]) -> dict[str, list[npt.NDArray[np.uint8]]]:
    return {name: decode_all(path) for name, path in videos.items()}


def orders() -> dict[str, list[int]]:
    rng = np.random.default_rng(0)
    return {
        "random": rng.integers(0, COUNT, 12).tolist(),
        "increasing": list(range(2, COUNT, 5)),
        "far": [0, 100, 60, 119, 61, 60],
        "repeated": [7, 7, 70, 70, 7],
    }


@pytest.mark.parametrize("order", orders())
@pytest.mark.parametrize("name", KINDS)
def test_each_index_gives_its_own_frame(
    videos: dict[str, Path], whole: dict[str, list[npt.NDArray[np.uint8]]], name: str, order: str
) -> None:
    assert len(whole[name]) == COUNT
    for index in orders()[order]:
        picture = frame_of(videos[name], index)
        assert picture.dtype == np.uint8 and picture.shape == (96, 128, 3)
        assert number_in(picture) == index
        assert np.array_equal(picture, whole[name][index])


def test_the_files_do_reorder_frames(videos: dict[str, Path]) -> None:
    for name in ("h264.mp4", "mpeg4.mp4", "mpeg4.avi", "h264.mkv"):
        with av.open(str(videos[name])) as container:
            shown = [p.pts for p in container.demux(video=0) if p.pts is not None]
        assert shown != sorted(shown)
    with av.open(str(videos["h264.avi"])) as container:
        shown = [frame.pts or 0 for frame in container.decode(video=0)]
    assert shown != sorted(shown)  # FFmpeg's guesses: right pictures, wrong times


def test_only_exact_timestamps_are_used_to_seek(videos: dict[str, Path]) -> None:
    assert read_times(videos["h264.avi"]) is None
    times = read_times(videos["h264.mp4"])
    assert times is not None and len(times.shown) == COUNT and times.keys[0] == 0
    assert len(times.keys) >= COUNT // 20


def test_a_seek_decodes_little(videos: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    counted = 0
    advance = video_stream.VideoStream._advance

    def count(self: video_stream.VideoStream) -> None:
        nonlocal counted
        counted += 1
        advance(self)

    monkeypatch.setattr(video_stream.VideoStream, "_advance", count)
    assert number_in(frame_of(videos["h264.mp4"], 110)) == 110
    assert counted == 1  # the first frame, to hold the timestamps against counting
    assert number_in(frame_of(videos["h264.mp4"], 115)) == 115
    assert counted == 6


def test_timestamps_that_do_not_tell_are_given_up(
    videos: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = read_times(videos["h264.mp4"])
    assert times is not None
    wrong = times.shown[:50] + tuple(t + 1 for t in times.shown[50:])
    monkeypatch.setattr(
        video_stream, "read_times", lambda path: type(times)(wrong, times.keys, times.dts)
    )
    for index in (110, 20):
        assert number_in(frame_of(videos["h264.mp4"], index)) == index


def test_trimmed_video_counts_what_is_shown(tmp_path: Path, videos: dict[str, Path]) -> None:
    """An mp4 cut without encoding anew holds frames before its first shown one."""
    cut = tmp_path / "cut.mp4"
    with av.open(str(videos["h264.mp4"])) as source, av.open(str(cut), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is None or packet.pts is None:
                continue
            packet.pts, packet.dts = packet.pts - 3 * 512, packet.dts - 3 * 512
            packet.stream = stream
            target.mux(packet)
    whole = [number_in(picture) for picture in decode_all(cut)]
    assert [number_in(frame_of(cut, k)) for k in (100, 3, 60)] == [whole[k] for k in (100, 3, 60)]


def test_open_groups_of_pictures(tmp_path: Path) -> None:
    path = write_video(
        tmp_path / "open.mp4", "libx264", options="open-gop=1:keyint=30:scenecut=0:b-adapt=0"
    )
    for index in (119, 29, 88, 59, 91):
        assert number_in(frame_of(path, index)) == index


@pytest.mark.parametrize("name", ["h264.mp4", "h264.avi"])
def test_beyond_the_end(videos: dict[str, Path], name: str) -> None:
    for _ in range(2):
        with pytest.raises(UserError, match=rf"{name}.*120 frames.*frame 120.*whole video"):
            frame_of(videos[name], 120)
    with pytest.raises(UserError, match="frame 9999"):
        frame_of(videos[name], 9999)
    assert number_in(frame_of(videos[name], 119)) == 119
    with pytest.raises(UserError, match="count from 0"):
        frame_of(videos[name], -1)


def test_many_videos_keep_few_open(videos: dict[str, Path], tmp_path: Path) -> None:
    copies = [tmp_path / f"{k}.mp4" for k in range(video.OPEN_VIDEOS + 3)]
    for copy in copies:
        copy.write_bytes(videos["h264.mp4"].read_bytes())
    for index in (3, 8):
        for copy in copies:
            assert number_in(frame_of(copy, index)) == index
    assert len(video._open) == video.OPEN_VIDEOS


def test_a_replaced_file_is_read_anew(videos: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(videos["h264.mp4"].read_bytes())
    frame_of(path, 3)
    write_video(path, "mpeg4", count=5)
    with pytest.raises(UserError, match="5 frames"):
        frame_of(path, 5)


def test_missing_and_no_video(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone.mp4: no such video"):
        frame_of(tmp_path / "gone.mp4", 0)
    with pytest.raises(UserError, match="folder: no such video"):
        (tmp_path / "folder").mkdir()
        frame_of(tmp_path / "folder", 0)
    text = tmp_path / "text.mp4"
    text.write_text("no video " * 99)
    with pytest.raises(UserError, match=r"text.mp4: not a video"):
        frame_of(text, 0)
    sound = tmp_path / "sound.mp4"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate = 8000
        container.mux(stream.encode(silence))
        container.mux(stream.encode(None))
    with pytest.raises(UserError, match=r"sound.mp4: holds no video"):
        frame_of(sound, 0)


@pytest.mark.parametrize("name", ["h264.mp4", "h264.avi", "mpeg4.avi"])
def test_damaged_files_give_their_frames_or_an_error(
    videos: dict[str, Path], tmp_path: Path, name: str
) -> None:
    """Never a wrong picture without a word where bytes are missing, never another exception."""
    content = videos[name].read_bytes()
    rng = np.random.default_rng(1)
    for trial in range(12):
        damaged = bytearray(content[: rng.integers(100, len(content))] if trial % 2 else content)
        for place in rng.integers(0, len(damaged), 40 if trial % 2 == 0 else 0):
            damaged[place] ^= 0xFF
        path = tmp_path / f"{trial}-{name}"
        path.write_bytes(damaged)
        for index in (5, 120, 60):
            try:
                picture = frame_of(path, index)
            except UserError as error:
                assert path.name in str(error)
            else:
                assert trial % 2 == 0 or number_in(picture) == index


def test_huge_pictures_are_refused(
    videos: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video_stream, "MAX_PIXELS", 128 * 96 - 1)
    with pytest.raises(UserError, match=r"h264.mp4: 128x96 pixels, more than"):
        frame_of(videos["h264.mp4"], 0)
