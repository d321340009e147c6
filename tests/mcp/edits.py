"""Sends many edits at once, as an agent with parallel tool calls does, and counts what is in the files afterwards.

    edits.py FOLDER FILES EDITS -- COMMAND...      the server is COMMAND, an MCP server on standard input and output

Prints one object: edits `sent`, `failed`, `lost`, and what went wrong first. It does not know what is between it and the
files. The Python SDK's own client sends them.
"""

import asyncio
import json
import pathlib
import sys

from mcp import Client, StdioServerParameters


async def main():
    cut = sys.argv.index("--")
    folder, files, edits = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    command = sys.argv[cut + 1 :]
    paths = [folder / f"file-{index}.txt" for index in range(files)]
    for path in paths:
        path.write_text("END\n", encoding="utf-8")
    async with Client(StdioServerParameters(command=command[0], args=command[1:])) as client:
        # With prefixes the tool has a longer name.
        names = [tool.name for tool in (await client.list_tools()).tools]
        name = next(name for name in names if name.endswith("edit_file"))

        async def edit(index):
            change = {"oldText": "END", "newText": f"edit {index}\nEND"}
            result = await client.call_tool(name, {"path": str(paths[index % files]), "edits": [change]})
            return result.content[0].text if result.is_error else None

        ended = await asyncio.gather(*(edit(index) for index in range(edits)), return_exceptions=True)
    wrong = [str(one) for one in ended if one is not None]
    lines = {line for path in paths for line in path.read_text(encoding="utf-8").splitlines()}
    lost = [index for index in range(edits) if f"edit {index}" not in lines]
    in_order = all(
        numbers == sorted(numbers)
        for numbers in ([int(line[5:]) for line in path.read_text().splitlines() if line != "END"] for path in paths)
    )
    print(json.dumps({"sent": edits, "failed": len(wrong), "lost": len(lost), "in_order": in_order, "first": wrong[:1]}))


asyncio.run(main())
