"""Uses an MCP server as a program of others does, with the Python SDK's own client, and prints what it got as one object.

    client.py REPO -- COMMAND...     the server is COMMAND, before servers called `every`, `files` and `git`

It does not know that the server is a gateway, but for the tools it asks for.
"""

import asyncio
import json
import sys

from mcp import Client, MCPError, StdioServerParameters

def text(result):
    return "".join(getattr(part, "text", "") for part in result.content)


async def main():
    cut = sys.argv.index("--")
    repo, command = sys.argv[1], sys.argv[cut + 1 :]
    got = {}
    told = []

    async def progress(done, total, message):
        told.append(done)

    async with Client(StdioServerParameters(command=command[0], args=command[1:])) as client:
        got["version"] = client.protocol_version
        got["tools"] = [tool.name for tool in (await client.list_tools()).tools]
        sums = (client.call_tool("every.get-sum", {"a": at, "b": 1}) for at in range(50))
        got["sums"] = [text(result) for result in await asyncio.gather(*sums)]
        log = await client.call_tool("git.git_log", {"repo_path": repo, "max_count": 1})
        got["log"] = text(log)
        image = await client.call_tool("every.get-tiny-image", {})
        got["image"] = [part.type for part in image.content]
        structured = await client.call_tool("every.get-structured-content", {"location": "Chicago"})
        got["structured"] = structured.structured_content
        long = await client.call_tool(
            "every.trigger-long-running-operation", {"duration": 1, "steps": 4}, progress_callback=progress
        )
        got["long"], got["progress"] = text(long), told
        absent = await client.call_tool("files.read_text_file", {"path": repo + "/not-there"})
        got["absent"] = [absent.is_error, text(absent)]
        try:
            unknown = await client.call_tool("every.no-such-tool", {})
            got["unknown"] = [unknown.is_error, text(unknown)]
        except MCPError as error:
            got["unknown"] = [True, str(error)]
    print(json.dumps(got))


asyncio.run(main())
