"""An MCP server (streamable HTTP, all protocol versions) with what the conformance suite asks for.

Prints `listening on 127.0.0.1:PORT`, and `cancelled` when a call of `linger` is cancelled. It ends
by itself after ten minutes, whatever becomes of who started it.
"""

import json
import os
import socket
import threading
import warnings

import anyio
import mcp_types as types
import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.streamable_http import EventMessage, EventStore
from mcp.shared.exceptions import MCPError

# The tools for logging and sampling are there for the versions that have them.
warnings.simplefilter("ignore")

PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJg"
    "gg=="
)
WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA="
EMPTY = {"type": "object", "properties": {}}

steps = anyio.Semaphore(0)
cancelled = 0


def text(value):
    return types.TextContent(type="text", text=value)


def image():
    return types.ImageContent(type="image", data=PNG, mime_type="image/png")


def resource(uri, value, kind="text/plain"):
    contents = types.TextResourceContents(uri=uri, mime_type=kind, text=value)
    return types.EmbeddedResource(type="resource", resource=contents)


async def elicit(ctx, message, properties, required=()):
    schema = {"type": "object", "properties": properties, "required": list(required)}
    answer = await ctx.session.elicit_form(message, schema, related_request_id=ctx.request_id)
    content = json.dumps(answer.content)
    return text(f"Elicitation completed: action={answer.action}, content={content}")


async def logging(ctx, arguments):
    for line in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await ctx.session.send_log_message("info", line, related_request_id=ctx.request_id)
        await anyio.sleep(0.05)
    return [text("logged")]


async def progress(ctx, arguments):
    for done in (0, 50, 100):
        await ctx.session.report_progress(done, 100)
        await anyio.sleep(0.05)
    return [text("done")]


async def stepped(ctx, arguments):
    """Reports progress, and goes on only when `advance` is called: no one may hold a report back."""
    for done in range(arguments["steps"]):
        await ctx.session.report_progress(done, arguments["steps"], f"step {done} é")
        await steps.acquire()
    return [text("all steps")]


async def advance(ctx, arguments):
    steps.release()
    return [text("advanced")]


async def linger(ctx, arguments):
    global cancelled
    try:
        await ctx.session.report_progress(0, 1, "lingering")
        await anyio.sleep(100)
    except anyio.get_cancelled_exc_class():
        cancelled += 1
        print("cancelled", flush=True)
        raise
    return [text("lingered in vain")]


async def cancellations(ctx, arguments):
    return [text(str(cancelled))]


async def sampling(ctx, arguments):
    said = types.SamplingMessage(role="user", content=text(arguments["prompt"]))
    answer = await ctx.session.create_message(
        [said], max_tokens=100, related_request_id=ctx.request_id
    )
    return [text(f"LLM response: {answer.content}")]


async def elicitation(ctx, arguments):
    properties = {
        "username": {"type": "string", "description": "User's response"},
        "email": {"type": "string", "description": "User's email address"},
    }
    return [await elicit(ctx, arguments["message"], properties, properties)]


async def elicitation_defaults(ctx, arguments):
    states = ["active", "inactive", "pending"]
    properties = {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": states, "default": "active"},
        "verified": {"type": "boolean", "default": True},
    }
    return [await elicit(ctx, "Defaults", properties)]


async def elicitation_enums(ctx, arguments):
    plain = ["option1", "option2", "option3"]
    titled = [{"const": f"value{n}", "title": f"Option {n}"} for n in (1, 2, 3)]
    old = ["opt1", "opt2", "opt3"]
    properties = {
        "untitledSingle": {"type": "string", "enum": plain},
        "titledSingle": {"type": "string", "oneOf": titled},
        "legacyEnum": {"type": "string", "enum": old, "enumNames": ["One", "Two", "Three"]},
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": plain}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled}},
    }
    return [await elicit(ctx, "Enums", properties)]


async def reconnection(ctx, arguments):
    """Closes its stream in mid-call; the client asks for the rest with `Last-Event-ID`."""
    await anyio.sleep(0.05)
    if ctx.close_sse_stream is not None:
        await ctx.close_sse_stream()
    await anyio.sleep(0.1)
    return [text("reconnected")]


async def error(ctx, arguments):
    raise ValueError("This tool intentionally returns an error for testing")


def constant(*content):
    async def tool(ctx, arguments):
        return list(content)

    return tool


def schema(**properties):
    return {"type": "object", "properties": properties, "required": list(properties)}


MIXED = resource("test://mixed-content-resource", '{"test":"data","value":123}', "application/json")
SCHEMA_2020_12 = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {"name": {"type": "string"}, "address": {"$ref": "#/$defs/address"}},
    "additionalProperties": False,
}
TOOLS = {
    "stepped": (stepped, schema(steps={"type": "integer"})),
    "advance": (advance, EMPTY),
    "linger": (linger, EMPTY),
    "cancellations": (cancellations, EMPTY),
    "test_simple_text": (constant(text("This is a simple text response for testing.")), EMPTY),
    "test_image_content": (constant(image()), EMPTY),
    "test_audio_content": (
        constant(types.AudioContent(type="audio", data=WAV, mime_type="audio/wav")),
        EMPTY,
    ),
    "test_embedded_resource": (
        constant(resource("test://embedded-resource", "This is an embedded resource content.")),
        EMPTY,
    ),
    "test_multiple_content_types": (
        constant(text("Multiple content types test:"), image(), MIXED),
        EMPTY,
    ),
    "test_tool_with_logging": (logging, EMPTY),
    "test_error_handling": (error, EMPTY),
    "test_tool_with_progress": (progress, EMPTY),
    "test_sampling": (sampling, schema(prompt={"type": "string"})),
    "test_elicitation": (elicitation, schema(message={"type": "string"})),
    "test_elicitation_sep1034_defaults": (elicitation_defaults, EMPTY),
    "test_elicitation_sep1330_enums": (elicitation_enums, EMPTY),
    "test_reconnection": (reconnection, EMPTY),
    "json_schema_2020_12_tool": (constant(text("fine")), SCHEMA_2020_12),
}


async def list_tools(ctx, params):
    tools = [
        types.Tool(name=name, description=f"For tests: {name}", input_schema=form)
        for name, (_, form) in TOOLS.items()
    ]
    return types.ListToolsResult(tools=tools)


async def call_tool(ctx, params):
    if params.name not in TOOLS:
        raise MCPError(types.INVALID_PARAMS, f"no tool {params.name}")
    try:
        content = await TOOLS[params.name][0](ctx, params.arguments or {})
    except ValueError as cause:
        return types.CallToolResult(content=[text(str(cause))], is_error=True)
    return types.CallToolResult(content=content)


async def list_resources(ctx, params):
    plain = {"test://static-text": "text/plain", "test://static-binary": "image/png"}
    resources = [
        types.Resource(uri=uri, name=uri[7:], description=uri, mime_type=kind)
        for uri, kind in plain.items()
    ]
    return types.ListResourcesResult(resources=resources)


async def list_resource_templates(ctx, params):
    form = types.ResourceTemplate(uri_template="test://template/{id}/data", name="template")
    return types.ListResourceTemplatesResult(resource_templates=[form])


async def read_resource(ctx, params):
    uri = str(params.uri)
    if uri == "test://static-binary":
        contents = types.BlobResourceContents(uri=uri, mime_type="image/png", blob=PNG)
    elif uri.startswith("test://template/"):
        key = uri.split("/")[3]
        body = json.dumps({"id": key, "templateTest": True, "data": f"Data for ID: {key}"})
        contents = types.TextResourceContents(uri=uri, mime_type="application/json", text=body)
    else:
        body = "This is the content of the static text resource."
        contents = types.TextResourceContents(uri=uri, mime_type="text/plain", text=body)
    return types.ReadResourceResult(contents=[contents])


def named(*names):
    return [types.PromptArgument(name=name, description=name, required=True) for name in names]


PROMPTS = {
    "test_simple_prompt": [],
    "test_prompt_with_arguments": named("arg1", "arg2"),
    "test_prompt_with_embedded_resource": named("resourceUri"),
    "test_prompt_with_image": [],
}


async def list_prompts(ctx, params):
    prompts = [
        types.Prompt(name=name, description=f"For tests: {name}", arguments=arguments)
        for name, arguments in PROMPTS.items()
    ]
    return types.ListPromptsResult(prompts=prompts)


async def get_prompt(ctx, params):
    given = params.arguments or {}
    said = {
        "test_simple_prompt": lambda: [text("This is a simple prompt for testing.")],
        "test_prompt_with_arguments": lambda: [
            text(f"Prompt with arguments: arg1='{given['arg1']}', arg2='{given['arg2']}'")
        ],
        "test_prompt_with_embedded_resource": lambda: [
            resource(given["resourceUri"], "Embedded resource content for testing."),
            text("Please process the embedded resource above."),
        ],
        "test_prompt_with_image": lambda: [image(), text("Please analyze the image above.")],
    }[params.name]()
    messages = [types.PromptMessage(role="user", content=content) for content in said]
    return types.GetPromptResult(messages=messages)


async def complete(ctx, params):
    return types.CompleteResult(completion=types.Completion(values=["paris", "park"], total=2))


async def nothing(ctx, params):
    return types.EmptyResult()


class Events(EventStore):
    """The events of all streams, so that a client may resume one."""

    def __init__(self):
        self.events = []

    async def store_event(self, stream_id, message):
        self.events.append((stream_id, message))
        return str(len(self.events))

    async def replay_events_after(self, last_event_id, send_callback):
        last = int(last_event_id)
        stream = self.events[last - 1][0]
        for number, (owner, message) in enumerate(self.events[last:], last + 1):
            if owner == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


def newer(app):
    """The suite negotiates 2025-11-25, but then names an older version in requests made by hand, for
    which the package primes no stream: then the scenario about resuming would check nothing."""
    field = b"mcp-protocol-version"

    async def changed(scope, receive, send):
        if (field, b"2025-03-26") in scope.get("headers", ()):
            others = [pair for pair in scope["headers"] if pair[0] != field]
            scope = {**scope, "headers": [*others, (field, b"2025-11-25")]}
        await app(scope, receive, send)

    return changed


server = Server(
    "for-tests",
    version="1",
    on_list_tools=list_tools,
    on_call_tool=call_tool,
    on_list_resources=list_resources,
    on_list_resource_templates=list_resource_templates,
    on_read_resource=read_resource,
    on_subscribe_resource=nothing,
    on_unsubscribe_resource=nothing,
    on_list_prompts=list_prompts,
    on_get_prompt=get_prompt,
    on_completion=complete,
    on_set_logging_level=nothing,
)
app = server.streamable_http_app(event_store=Events(), retry_interval=500)
lifetime = threading.Timer(600, os._exit, (3,))
lifetime.daemon = True
lifetime.start()
listener = socket.create_server(("127.0.0.1", 0))
print(f"listening on 127.0.0.1:{listener.getsockname()[1]}", flush=True)
uvicorn.Server(uvicorn.Config(newer(app), log_level="warning")).run(sockets=[listener])
