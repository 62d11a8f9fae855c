"""A camera in a process of its own, for tests that kill, stop and restart it: `python mjpeg_camera.py PORT FPS`.

Serves a drawn face at /cam.mjpg as multipart JPEG, and says `ready` on standard output when it takes connections.
"""

from __future__ import annotations

import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2

from edgefer import cartoon

PICTURES = [cv2.imencode(".jpg", image)[1].tobytes() for image, _ in cartoon.clip(10, (320, 180), faces=1, seed=3)]


class Camera(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            while True:
                for picture in PICTURES:
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                    self.wfile.write(head.encode() + picture + b"\r\n")
                    time.sleep(1 / float(sys.argv[2]))
        except OSError:
            pass

    def log_message(self, format: str, *args: object) -> None:
        pass


if __name__ == "__main__":
    ThreadingHTTPServer.allow_reuse_address = True
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Camera)
    print("ready", flush=True)
    server.serve_forever()
