"""A provider of pictures that takes the same time for each: OpenAI's answer with one prepared PNG, nothing is drawn.

`python picture_server.py SECONDS SIDE` prints its port, then serves until it is killed.
"""

from __future__ import annotations

import base64
import io
import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from PIL import Image

GRAIN = 9  # so that 2048x2048 pixels are about 4 MB


def picture(side: int) -> bytes:
    grain = Image.effect_noise((side // 4, side // 4), GRAIN).resize((side, side), Image.Resampling.BICUBIC)
    output = io.BytesIO()
    mirrored = (grain, grain.transpose(Image.Transpose.FLIP_LEFT_RIGHT), grain.transpose(Image.Transpose.ROTATE_180))
    Image.merge("RGB", mirrored).save(output, "PNG")
    return output.getvalue()


def serve(seconds: float, content: bytes) -> None:
    answer = json.dumps({"created": 0, "data": [{"b64_json": base64.b64encode(content).decode()}]}).encode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(seconds)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 128  # of five, the sixth caller at once waits a second for its connection

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    sys.stdout.write(f"{server.server_address[1]} {len(content)}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    serve(float(sys.argv[1]), picture(int(sys.argv[2])))
