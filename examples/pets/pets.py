# The server of the example `pets`: pets in memory, asked for by HTTP. Nothing of it leaves the machine.
#   python3 pets.py [PORT]     (8473; 0 takes a free one and prints it)
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PETS = {id: {"id": id, "name": name, "fed": 0} for id, name in enumerate(["Rex", "Tom", "Kitty"], 1)}
LOCK = threading.Lock()


class Pets(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def pet(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Authorization") != f"Bearer {os.environ['PETS_TOKEN']}":
            return self.answer(401, {"error": "who are you?", "told": self.headers.get("Authorization")}), None
        parts = self.path.split("?")[0].strip("/").split("/")
        pet = PETS.get(int(parts[1])) if len(parts) > 1 and parts[1].isdigit() else None
        if parts == ["pets"]:
            return self.answer(200, list(PETS.values())), None
        if pet is None:
            return self.answer(404, {"error": f"there is no pet {parts[-1]}"}), None
        return pet, json.loads(body or "null")

    def do_GET(self):
        pet, _ = self.pet()
        if pet:
            self.answer(200, pet)

    def do_POST(self):
        pet, body = self.pet()
        if pet:
            with LOCK:
                fed = pet["fed"]
                time.sleep(0.05)
                pet["fed"] = fed + body["amount"]
            self.answer(200, pet)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8473), Pets)
print(server.server_port, flush=True)
server.serve_forever()
