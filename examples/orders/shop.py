# The server of the example `orders`: orders in memory, by HTTP. Nothing of it leaves the machine.
#   python3 shop.py [PORT]     (8474; 0 takes a free one and prints it)
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ORDERS = {}
DOCUMENT = Path(__file__).with_name("openapi.yaml")


class Shop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, text, kind="application/json"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def orders(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/openapi.yaml":
            self.answer(200, DOCUMENT.read_text(), "application/yaml")
        elif self.headers.get("Authorization") != f"Bearer {os.environ['SHOP_TOKEN']}":
            self.answer(401, '{"error": "who are you?"}')
        else:
            return ORDERS.setdefault(self.path, []), json.loads(body or "null")
        return None, None

    def do_GET(self):
        orders, _ = self.orders()
        if orders is not None:
            self.answer(200, json.dumps(orders))

    def do_POST(self):
        orders, order = self.orders()
        if orders is not None:
            number = len(orders) + 1
            time.sleep(0.2)
            orders.append({"what": order["what"], "number": number})
            self.answer(201, json.dumps(orders[-1]))

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8474), Shop)
print(server.server_port, flush=True)
server.serve_forever()
