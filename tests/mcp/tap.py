"""Stands between a client and a server on standard input and output and notes when what went by.

    tap.py NOTES [--hold SECONDS] -- COMMAND...

The first line of JSON in NOTES has the `pid` of the server; each that follows is a request or an answer: `t`, `way`, `id`,
`method`, `tool`, `path`. With `--hold` answers
to tool calls are handed on that much later, so that it shows what a client waits for. It does not know who is at either end.
"""

import json
import os
import queue
import subprocess
import sys
import threading
import time


def main():
    cut = sys.argv.index("--")
    options, command = sys.argv[1:cut], sys.argv[cut + 1 :]
    hold = float(options[options.index("--hold") + 1]) if "--hold" in options else 0.0
    notes = open(options[0], "a", buffering=1, encoding="utf-8")
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    notes.write(json.dumps({"pid": server.pid}) + "\n")
    calls = set()
    answers = queue.Queue()

    def note(way, line):
        try:
            message = json.loads(line)
        except ValueError:
            message = {}
        params = message.get("params") or {}
        path = (params.get("arguments") or {}).get("path")
        seen = {"t": time.monotonic(), "way": way, "id": message.get("id"), "method": message.get("method")}
        notes.write(json.dumps({**seen, "tool": params.get("name"), "path": path}) + "\n")
        return message

    def towards_server():
        for line in sys.stdin.buffer:
            message = note("in", line)
            if message.get("method") == "tools/call":
                calls.add(message["id"])
            server.stdin.write(line)
            server.stdin.flush()
        server.stdin.close()

    def towards_client():
        while (item := answers.get()) is not None:
            due, line = item
            time.sleep(max(0.0, due - time.monotonic()))
            note("out", line)
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()

    threading.Thread(target=towards_server, daemon=True).start()
    handing = threading.Thread(target=towards_client)
    handing.start()
    for line in server.stdout:
        is_answer = json.loads(line).get("id") in calls
        answers.put((time.monotonic() + (hold if is_answer else 0.0), line))
    answers.put(None)
    handing.join()
    # Not `sys.exit`: the other thread still holds the standard input.
    os._exit(server.wait() & 0x7F)


main()
