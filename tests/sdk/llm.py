"""The SDKs of OpenAI and Anthropic as programs use them; what happens is printed, an object a line.

    llm.py KIND BASE_URL read PLAN          each delta as it comes, then the whole text
    llm.py KIND BASE_URL leave PLAN COUNT   COUNT times: two deltas, then close; says when it closes
    llm.py KIND BASE_URL impatient COUNT    COUNT times: give up waiting for an answer
    llm.py KIND BASE_URL crowd PLAN COUNT   COUNT streams at once; the text of each

KIND is `openai` or `anthropic`; PLAN is the name of the model, which tells the backend what to do.
"""

import asyncio
import json
import sys
import time

kind, url, what, *rest = sys.argv[1:]
messages = [{"role": "user", "content": "é 🌊"}]
settings = {"base_url": url, "api_key": "a-key", "max_retries": 0, "timeout": 100}

if kind == "openai":
    import openai as sdk

    settings["base_url"] += "/v1"
    Client, AsyncClient = sdk.OpenAI, sdk.AsyncOpenAI

    def start(client, plan, **more):
        return client.chat.completions.create(model=plan, messages=messages, stream=True, **more)

    def text_of(chunk):
        return chunk.choices[0].delta.content if chunk.choices else None

else:
    import anthropic as sdk

    Client, AsyncClient = sdk.Anthropic, sdk.AsyncAnthropic

    def start(client, plan, **more):
        return client.messages.create(
            model=plan, messages=messages, stream=True, max_tokens=99, **more
        )

    def text_of(event):
        return event.delta.text if event.type == "content_block_delta" else None


def say(**fields):
    print(json.dumps(fields), flush=True)


def read(plan):
    text = ""
    try:
        with Client(**settings) as client, start(client, plan) as stream:
            for event in stream:
                if delta := text_of(event):
                    say(at=time.time_ns(), delta=delta)
                    text += delta
    except Exception as error:
        answer = getattr(error, "response", None)
        say(
            error=type(error).__name__,
            lineage=[base.__name__ for base in type(error).__mro__],
            status=getattr(error, "status_code", None),
            retry_after=answer.headers.get("retry-after") if answer is not None else None,
            request=getattr(error, "request_id", None),
            body=getattr(error, "body", None),
            text=text,
        )
    else:
        say(end=text)


def leave(plan, count):
    with Client(**settings) as client:
        for _ in range(int(count)):
            with start(client, plan) as stream:
                deltas = (delta for event in stream if (delta := text_of(event)))
                seen = [next(deltas), next(deltas)]
                say(left=time.time_ns(), seen=seen)


def impatient(count):
    with Client(**settings) as client:
        for _ in range(int(count)):
            try:
                start(client, "mute", timeout=0.3)
            except sdk.APITimeoutError:
                say(left=time.time_ns())


async def crowd(plan, count):
    async def one(client):
        text = ""
        async with await start(client, plan) as stream:
            async for event in stream:
                text += text_of(event) or ""
        say(end=text)

    async with AsyncClient(**settings) as client:
        await asyncio.gather(*(one(client) for _ in range(int(count))))


if what == "crowd":
    asyncio.run(crowd(*rest))
else:
    {"read": read, "leave": leave, "impatient": impatient}[what](*rest)
