"""An MCP server whose tools ask before they answer, in JSON lines on standard input and output."""
import itertools, json, queue, sys, threading

lock, ids, waiting = threading.Lock(), itertools.count(1), {}
SEATS = [{"const": "w", "title": "Window"}, {"const": "a", "title": "Aisle"}]
FORM = {"type": "object", "required": ["name", "seat"], "properties": {
    "name": {"type": "string", "title": "Traveller", "minLength": 2},
    "seat": {"type": "string", "oneOf": SEATS, "default": "a"},
    "bags": {"type": "integer", "minimum": 0}}}
ASKS = {
    "book": ("elicitation/create", {"message": "Who flies?\x1b[2J", "requestedSchema": FORM}),
    "sign": ("elicitation/create", {"mode": "url", "message": "Sign here", "elicitationId": "1",
                                    "url": "https://sign.example/me?x=\u202e"}),
    "think": ("sampling/createMessage", {"maxTokens": 9, "messages": [
        {"role": "user", "content": {"type": "text", "text": "?"}}]}),
    "where": ("roots/list", {}),
}


def send(message):
    with lock:
        print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def call(request):
    method, params = ASKS[request["params"]["name"]]
    send({"method": "notifications/message", "params": {"level": "warning", "logger": "desk", "data": "asking\x07"}})
    with lock:
        number = next(ids)
        waiting[number] = queue.Queue()
    send({"id": number, "method": method, "params": params})
    answer = waiting[number].get()
    text = json.dumps(answer.get("result", answer.get("error")))
    send({"id": request["id"], "result": {"content": [{"type": "text", "text": text}]}})


for line in sys.stdin:
    message = json.loads(line)
    method, number = message.get("method"), message.get("id")
    if method is None:
        waiting[number].put(message)
    elif method == "initialize":
        send({"id": number, "result": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}, "logging": {}},
                                       "serverInfo": {"name": "desk", "version": "1"}}})
    elif method == "tools/list":
        tools = [{"name": name, "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}} for name in ASKS]
        send({"id": number, "result": {"tools": tools}})
    elif method == "tools/call":
        threading.Thread(target=call, args=[message], daemon=True).start()
    elif number is not None:
        send({"id": number, "error": {"code": -32601, "message": "not known"}})
