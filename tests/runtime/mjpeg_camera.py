"""A camera in a process of its own, to be killed, stopped and restarted: `python mjpeg_camera.py PORT FPS [PICTURES]`.

Serves a drawn face on loopback at /cam.mjpg as multipart JPEG, a clip of so many pictures (10) again and again; FPS 0
is as fast as they are taken. Says `ready` on standard output when it takes connections. The tests use it, and
benchmarks/soak.
"""

from __future__ import annotations

import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2

from edgefer.cartoon.clip import clip

PORT, FPS = int(sys.argv[1]), float(sys.argv[2])
COUNT = int(sys.argv[3]) if len(sys.argv) > 3 else 10
PICTURES = [cv2.imencode(".jpg", image)[1].tobytes() for image, _ in clip(COUNT, (320, 180), faces=1, seed=3)]


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
                    if FPS:
                        time.sleep(1 / FPS)
        except OSError:
            pass  # whoever watched has gone

    def log_message(self, format: str, *args: object) -> None:
        pass


if __name__ == "__main__":
    ThreadingHTTPServer.allow_reuse_address = True
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Camera)
    print("ready", flush=True)
    server.serve_forever()
