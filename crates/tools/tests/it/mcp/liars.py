"""A server that writes what it is told to write: each test says what that is.

    liars.py BEFORE     BEFORE is written before anything is read; it and all that is told is Latin-1, so any byte can be said

It does not know the protocol beyond what makes a client ask.
"""

import json
import os
import sys
import time


def write(text):
    data = text.encode("latin-1")
    while data:
        data = data[os.write(1, data) :]


def say(id, **said):
    write(json.dumps({"jsonrpc": "2.0", "id": id, **said}) + "\n")


def tool(name):
    return {"name": name, "inputSchema": {"type": "object"}}


write(sys.argv[1].replace("LONG", "x" * (70 << 20)))
pages = 0
for line in sys.stdin:
    message = json.loads(line)
    id, method, params = message.get("id"), message.get("method"), message.get("params") or {}
    if id is None or method is None:
        continue
    if method == "initialize":
        about = {"name": "liar", "version": "1"}
        say(id, result={"protocolVersion": "2025-06-18", "capabilities": {"tools": {"listChanged": True}}, "serverInfo": about})
    elif method == "tools/list":
        pages += 1
        page = {"tools": [tool(name) for name in ("say", "pages", "close", "deaf", "echo")] if "cursor" not in params else []}
        if pages > 1 and os.environ.get("TEST_MCP_LATER"):
            page["tools"].append(tool(os.environ["TEST_MCP_LATER"]))
        if os.environ.get("TEST_MCP_ENDLESS"):
            page["nextCursor"] = str(pages)
        say(id, result=page)
    elif method != "tools/call":
        say(id, error={"code": -32601, "message": "no such method"})
    elif params["name"] == "say":
        for text, times in params["arguments"]["parts"]:
            # Not all at once: a megabyte or so is the most that is held here.
            text = text.replace("$ID", str(id))
            most = max(1, (1 << 20) // max(1, len(text)))
            while times > 0:
                write(text * min(times, most))
                times -= most
    elif params["name"] == "pages":
        say(id, result={"content": [{"type": "text", "text": str(pages)}]})
    elif params["name"] == "echo":
        say(id, result={"content": [{"type": "text", "text": str(len(params["arguments"].get("text", "")))}]})
    elif params["name"] == "close":
        # Standard output ends, and the program does not.
        os.close(1)
        while True:
            time.sleep(600)
    elif params["name"] == "deaf":
        say(id, result={"content": []})
        while True:
            time.sleep(600)
