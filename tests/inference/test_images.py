"""Images of a request: named formats only, and no more pixels than allowed, by their headers."""

from __future__ import annotations

import contextlib
import io
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import EpsImagePlugin, Image

from modelhub.inference.data_uris import BadInputs, encode
from modelhub.inference.images import FORMATS, decode_image
from modelhub.inference.quota import Quota
from modelhub.limits import PredictionLimits


def _quota(**limits: Any) -> Quota:
    return Quota(PredictionLimits(**limits), 16_000)


def _uri(size: tuple[int, int] = (40, 30), kind: str = "PNG") -> str:
    buffer = io.BytesIO()
    Image.new("L", size).save(buffer, kind)
    return encode(buffer.getvalue(), "image/png")


def _png(
    width: int, height: int, *chunks: tuple[bytes, bytes], data: bytes = bytes(100), bits: int = 8
) -> str:
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    every = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(data, 9)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(text)) + kind + text + struct.pack(">I", zlib.crc32(kind + text))
        for kind, text in every
    )
    return encode(b"\x89PNG\r\n\x1a\n" + body, "image/png")


@pytest.mark.parametrize("kind", FORMATS)
def test_each_format_that_is_named_is_read(kind: str) -> None:
    image = decode_image(_uri(kind=kind), _quota())
    assert (image.size, image.mode) == ((40, 30), "RGB")


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "ICO", "PPM", "TGA", "PCX", "PDF", "ICNS", "JPEG2000"])
def test_any_other_format_is_refused(kind: str) -> None:
    with pytest.raises(BadInputs, match="cannot be read") as caught:
        decode_image(_uri(kind=kind), _quota())
    assert "PNG" in caught.value.todo


def test_a_page_of_postscript_starts_no_ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = tmp_path / "ran"
    program = tmp_path / "gs"
    program.write_text(f"#!/bin/sh\ntouch {ran}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    page = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    for kind in ("image/png", "application/postscript"):
        with pytest.raises(BadInputs):
            decode_image(encode(page, kind), _quota())
    assert not ran.exists()
    # The same bytes do start it where every format is allowed.
    with contextlib.suppress(OSError):
        Image.open(io.BytesIO(page)).load()
    assert ran.exists()


def test_a_bomb_is_refused_by_its_header() -> None:
    uri = _png(9_000, 9_000, data=bytes(9_000 * 1_126), bits=1)
    assert len(uri) < 20_000
    tracemalloc.start()
    try:
        with pytest.raises(BadInputs, match="more than 64 million pixels"):
            decode_image(uri, _quota())
        assert tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()


def test_headers_that_claim_everything_cost_nothing() -> None:
    canvas = struct.pack("<I", 16_382)[:3] * 2
    webp = b"WEBPVP8X" + struct.pack("<I", 10) + bytes([2, 0, 0, 0]) + canvas + b"ANIM" + bytes(10)
    gif = b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0, 0, 0) + b"," + bytes(9) + b"\x02\x00;"
    text = zlib.compress(bytes(10**8), 9)
    for uri in (
        _png(2**31 - 1, 2**31 - 1),
        _png(20_000, 20_000),
        _png(9, 9, (b"zTXt", b"k\0\0" + text)),
        _png(9, 9, (b"iCCP", b"k\0\0" + text)),
        encode(b"RIFF" + struct.pack("<I", len(webp)) + webp, "image/webp"),
        encode(gif, "image/gif"),
        encode(b"\xff\xd8\xff\xc0\x00\x11\x08" + b"\xff" * 12, "image/jpeg"),
    ):
        before = psutil.Process().memory_info().rss
        with pytest.raises(BadInputs):
            decode_image(uri, _quota())
        assert psutil.Process().memory_info().rss - before < 30 * 2**20


def test_all_images_of_a_request_share_the_pixels() -> None:
    quota = _quota(max_pixels=3_000)
    decode_image(_uri(), quota)
    decode_image(_uri(), quota)
    with pytest.raises(BadInputs, match="pixels") as caught:
        decode_image(_uri(), quota)
    assert "MODELHUB_MAX_PIXELS" in caught.value.todo


@pytest.mark.parametrize(
    "uri", ["", None, 7, [], {}, "data:image/png;base64,", "data:,x", "http://127.0.0.1/x.png"]
)
def test_what_is_no_image_is_refused(uri: Any) -> None:
    with pytest.raises(BadInputs) as caught:
        decode_image(uri, _quota())
    assert caught.value.todo
