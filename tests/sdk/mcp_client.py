"""An MCP client; what happens is printed as it happens, a JSON object a line.

    mcp_client.py tour MODE URL      tools, progress, logging, and a call that is cancelled
    mcp_client.py linger MODE URL    a call that lasts until somebody ends this process
    mcp_client.py resume URL         what the conformance suite's client scenario `sse-retry` wants

MODE is `legacy` (sessions, up to 2025-11-25) or a later version of the protocol. With TIDEGATE in
the environment, `resume` starts that program as a gateway to URL, and goes through it.
"""

import json
import os
import subprocess
import sys

import anyio
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client


def say(**fields):
    print(json.dumps(fields), flush=True)


def text_of(result):
    return result.content[0].text


async def logged(params):
    say(log=params.data)


def connect(mode, url):
    return Client(
        url, mode=mode, logging_callback=logged, log_level="info", read_timeout_seconds=100
    )


async def stepped(client):
    """Lets the tool go on only when its report is here."""

    async def reported(done, total, message):
        say(progress=done, message=message)
        await client.call_tool("advance")

    result = await client.call_tool("stepped", {"steps": 5}, progress_callback=reported)
    say(result=text_of(result))


async def lingering(client, reported):
    async def report(done, total, message):
        say(lingering=message)
        await reported()

    await client.call_tool("linger", progress_callback=report)


async def cancels(client):
    """Gives a call up once it runs, and waits until the server says that it noticed."""
    before = int(text_of(await client.call_tool("cancellations")))
    with anyio.CancelScope() as scope:

        async def enough():
            scope.cancel()

        await lingering(client, enough)
    while int(text_of(await client.call_tool("cancellations"))) == before:
        await anyio.sleep(0.01)
    say(cancelled=True)


async def tour(mode, url):
    async with connect(mode, url) as client:
        say(version=client.protocol_version)
        say(tools=[tool.name for tool in (await client.list_tools()).tools])
        say(result=text_of(await client.call_tool("test_simple_text")))
        await stepped(client)
        say(result=text_of(await client.call_tool("test_tool_with_logging")))
        say(error=text_of(await client.call_tool("test_error_handling")))
        await cancels(client)
    say(closed=True)


async def linger(mode, url):
    async def nothing():
        pass

    async with connect(mode, url) as client:
        await lingering(client, nothing)


async def resume(url):
    """The suite takes any GET after the stream's end for the one that resumes it. So the stream that
    the session opens for itself, whenever it comes to it, must be open before."""
    opened = anyio.Event()

    async def answered(response):
        if response.request.method == "GET":
            opened.set()

    http = httpx2.AsyncClient(timeout=100, event_hooks={"response": [answered]})
    async with http, Client(streamable_http_client(url, http_client=http), mode="legacy") as client:
        await opened.wait()
        await client.list_tools()
        say(result=text_of(await client.call_tool("test_reconnection")))


def through(gateway, url):
    """Starts a gateway to `url`: where it listens, and its process, which ends in any case."""
    arguments = ["proxy", url, "--listen", "127.0.0.1:0", "--admin", "off"]
    command = ["timeout", "-k", "1", "60", gateway, *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        print(line, end="", file=sys.stderr)
        if "listening on " in line:
            return line.split("listening on ")[1].split()[0], process
    raise SystemExit("the gateway ended")


what, *rest = sys.argv[1:]
if what == "resume" and "TIDEGATE" in os.environ:
    address, process = through(os.environ["TIDEGATE"], rest[0])
    try:
        anyio.run(resume, address)
    finally:
        process.terminate()
        process.wait()
else:
    anyio.run({"tour": tour, "linger": linger, "resume": resume}[what], *rest)
