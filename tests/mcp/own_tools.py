"""Uses the gateway's own tools with the Python SDK's client, and prints what it got as one object.

    own_tools.py FOLDER MODE -- COMMAND...     the server is COMMAND, before servers called `every` and `files`

MODE is the client's: `auto` or `legacy`. It does not know how plans are run: it does what it is told by what is listed.
"""

import asyncio
import json
import re
import sys

from mcp import Client, StdioServerParameters


def text(result):
    return "".join(getattr(part, "text", "") for part in result.content)


def calls(*lines):
    return {"calls": [{"id": name, "tool": tool, "args": args} for name, tool, args in lines]}


async def main():
    folder, mode, cut = sys.argv[1], sys.argv[2], sys.argv.index("--")
    command = sys.argv[cut + 1 :]
    got, told = {}, []

    async def progress(done, total, message):
        told.append([done, total, message])

    async with Client(StdioServerParameters(command=command[0], args=command[1:]), mode=mode) as client:
        got["version"] = client.protocol_version
        listed = (await client.list_tools()).tools
        got["tools"] = [tool.name for tool in listed]

        async def own(name, args, **more):
            answer = await client.call_tool(name, args, **more)
            return [answer.is_error, text(answer)]

        # Where it is not listed, a tool is called through the one that calls any.
        async def call(name, args):
            if name in got["tools"]:
                return await own(name, args)
            return await own("call_tool", {"name": name, "arguments": args})

        sums = calls(
            ("a", "every.get-sum", {"a": 1, "b": 2}),
            ("b", "every.get-sum", {"a": 20, "b": 20}),
            ("both", "every.echo", {"message": "${a} and ${b}"}),
        )
        got["found"] = await own("find_tools", {"query": "edit a file", "limit": 3})
        got["called"] = await asyncio.gather(*(call("every.get-sum", {"a": at, "b": 1}) for at in range(20)))
        got["right"] = await own("check_plan", {"plan": sums})
        got["wrong"] = await own("check_plan", {"plan": calls(("a", "every.get-sun", {"a": "${b}"}))})
        got["ran"] = await own("run_plan", {"plan": sums}, progress_callback=progress)
        got["progress"] = told
        got["text"] = await own("run_plan", {"plan": json.dumps(sums | {"output": "${both}"})})
        got["refused"] = await own("run_plan", {"plan": sums | {"tools": {"sh": {"argv": ["sh"]}}}})

        slow = calls(("slow", "every.trigger-long-running-operation", {"duration": 600, "steps": 2}))
        begun = await own("run_plan", {"plan": slow, "wait_seconds": 0})
        run = re.search(r"run ([0-9a-f-]{16,}) goes on", begun[1]).group(1)
        got["under_way"] = await own("run_status", {"run": run})
        got["cancelled"] = await own("cancel_run", {"run": run})
        got["after"] = await own("run_status", {"run": run, "wait_seconds": 20})
        begun = await own("run_plan", {"plan": calls(("all", "every.get-sum", {"a": 40, "b": 2})), "wait_seconds": 0})
        run = re.search(r"run ([0-9a-f-]{16,}) goes on", begun[1])
        got["ended"] = await own("run_status", {"run": run.group(1), "wait_seconds": 20}) if run else begun
        got["of_nobody"] = [await own("run_status", {"run": "none"}), await own("cancel_run", {"run": "none"})]

        got["cut"] = await call("files.read_text_file", {"path": folder + "/large.json"})
        ref = re.search(r'"ref":"(r[0-9]+)"', got["cut"][1]).group(1)
        got["part"] = await own("read_result", {"ref": ref, "path": ".lines[2999]"})
        got["range"] = await own("read_result", {"ref": ref, "from": 0, "to": 10})
        got["no_ref"] = await own("read_result", {"ref": "r99"})
    print(json.dumps(got))


asyncio.run(main())
