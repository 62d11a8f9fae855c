"""A camera on loopback: MJPEG over HTTP at http://127.0.0.1:PORT/cam.mjpg, as fast as it is taken.

python benchmarks/soak/camera.py PORT [FRAMES A SECOND]
"""

from __future__ import annotations

import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2

from edgefer import cartoon

SIZE = (320, 180)
PICTURES = [cv2.imencode(".jpg", image)[1].tobytes() for image, _ in cartoon.clip(100, SIZE, faces=1, seed=3)]


class Camera(BaseHTTPRequestHandler):
    """Sends the drawn clip again and again."""

    fps = 0.0

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            while True:
                for picture in PICTURES:
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                    self.wfile.write(head.encode() + picture + b"\r\n")
                    if self.fps:
                        time.sleep(1 / self.fps)
        except OSError:
            pass  # whoever watched has gone

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    Camera.fps = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
    ThreadingHTTPServer.allow_reuse_address = True
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Camera).serve_forever()
