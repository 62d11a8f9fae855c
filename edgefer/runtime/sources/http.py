"""A network camera over HTTP: Motion JPEG is read by ourselves, everything else by OpenCV's FFmpeg."""

from __future__ import annotations

import os
from http.client import HTTPException

from edgefer.errors import SourceError
from edgefer.runtime.frames import CaptureOptions, FrameSource
from edgefer.runtime.sources._uris import shown

FORM = "HTTP camera (http://USER:PASSWORD@HOST/video.mjpg, https://…)"
ADJUSTABLE = False
CONTAINERS = "hls,mpegts,mov,mp4,m4a,3gp,matroska,webm,flv,mpjpeg,mjpeg,avi,ogg,aac,webvtt"
OPTIONS = f"protocol_whitelist;http,https,httpproxy,tcp,tls,crypto,hls|format_whitelist;{CONTAINERS}"
"""Whatever a playlist says, FFmpeg opens no file."""
AUTHORITIES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
"""Where systems keep the certificates that they trust, for those whose Python does not tell."""


def matches(uri: str) -> bool:
    """Return whether `uri` is an http or https address."""
    return uri.lower().startswith(("http://", "https://"))


def open_source(uri: str, options: CaptureOptions) -> FrameSource:
    """Open the stream; raises SourceError when no picture comes in time, and when the stream ends."""
    from edgefer.quiet import silence_opencv
    from edgefer.runtime.sources import _capture
    from edgefer.runtime.sources._mjpeg import Mjpeg
    from edgefer.runtime.sources._multipart import Parts, boundary_of
    from edgefer.runtime.sources._web import ask

    silence_opencv()
    where = shown(uri)
    answer = ask(uri, _capture.READ_TIMEOUT)
    answer.allow(_capture.READ_TIMEOUT)
    try:
        kind = answer.headers.get("Content-Type", "").strip()
        main = kind.partition(";")[0].strip().lower()
        start = b""
        if main in ("", "text/plain", "application/octet-stream"):  # ffmpeg and others name no type
            start = answer.read(1024)
        if main.startswith("multipart/") or start.lstrip(b"\r\n").startswith(b"--"):
            return Mjpeg(answer, Parts(answer.read, boundary_of(kind), start), where)
        if main in ("text/html", "image/jpeg", "image/png"):
            what = "a single picture" if main.startswith("image/") else "a web page"
            raise SourceError(f"{where} is {what}, no stream; look in the camera's manual for the address of its video")
    except (OSError, HTTPException) as error:
        answer.close()
        raise SourceError(f"no camera at {where}: it answers and sends nothing; check it in a browser") from error
    except BaseException:
        answer.close()
        raise
    answer.close()
    return _capture.open_stream(
        uri,
        _options(uri),
        f"no camera at {where}: what it sends ({main[:40] or 'of no stated type'}) cannot be read as a video in time",
        f"the camera at {where} gives no more pictures; check its power and the network",
    )


def _options(uri: str) -> str:
    """Return FFmpeg's options for an address; an OpenCV that checks no certificates gets no https at all."""
    from edgefer.runtime.sources import _opencv

    if _opencv.version() >= _opencv.CHECKS_CERTIFICATES:
        return f"{OPTIONS}|{checked()}"
    if uri.lower().startswith("https:"):
        raise SourceError(
            "this OpenCV cannot be told to check certificates, so it gets no https: address (Motion JPEG needs none);"
            " pip install 'opencv-python-headless>=4.13,<5'"
        )
    return OPTIONS.replace("https,", "").replace("tls,", "")


def checked() -> str:
    """Return the options that make FFmpeg check certificates: it connects anew, and by itself it trusts anybody."""
    import ssl

    files = [ssl.get_default_verify_paths().cafile, *AUTHORITIES]
    file = next((file for file in files if file and os.path.isfile(file)), None)
    return "tls_verify;1" + (f"|ca_file;{file}" if file else "")
