// Prints the events of one or more topics; connects again and resumes when the stream ends.
//
// Usage: node subscribe.mjs TOPIC...        Environment: HUB, TOKEN
// `subscribe` also runs in a page: unlike EventSource, it can send an Authorization header and can
// see the response's headers. Each event is one line: id, type and data as JSON.

const WAIT_MAX = 30_000;

/** The stream's lines: they end with CR, LF or CR LF. What is cut off at the end is no line. */
async function* lines(body) {
  let rest = "";
  for await (const text of body.pipeThrough(new TextDecoderStream())) {
    rest += text;
    // A CR at the very end may be the first half of a CR LF: it waits for what follows.
    const whole = rest.split(/\r\n|\n|\r(?!$)/);
    rest = whole.pop();
    yield* whole;
  }
  if (rest.endsWith("\r")) yield rest.slice(0, -1);
}

/** Header values are bytes; ids are UTF-8. */
const headerValue = (text) => String.fromCharCode(...new TextEncoder().encode(text));

export class Stopped extends Error {}

/** Yields `{ id, type, data }` for ever, or until the server answers something else than a stream. */
export async function* subscribe(hub, topics, { token, lastEventId = "", note = () => {} } = {}) {
  const url = new URL(hub);
  for (const topic of topics) url.searchParams.append("topic", topic);
  let retry = 1000;
  let failures = 0;
  while (true) {
    try {
      const headers = { accept: "text/event-stream" };
      if (token) headers.authorization = `Bearer ${token}`;
      if (lastEventId) headers["last-event-id"] = headerValue(lastEventId);
      const response = await fetch(url, { headers, cache: "no-store" });
      const kind = response.headers.get("content-type") ?? "";
      if (response.status !== 200 || !/^text\/event-stream\s*(;|$)/i.test(kind)) {
        throw new Stopped(`${response.status} ${(await response.text()).trim()}`);
      }
      const known = response.headers.get("last-event-id") ?? headerValue(lastEventId);
      const gap = lastEventId && known !== headerValue(lastEventId);
      note(gap ? `connected; gap: events after ${lastEventId} may be missing` : "connected");

      let newId = lastEventId;
      let type = "";
      let data = [];
      for await (const line of lines(response.body)) {
        const colon = line.indexOf(":");
        const name = colon < 0 ? line : line.slice(0, colon);
        const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
        if (line === "") {
          lastEventId = newId;
          if (data.length) {
            failures = 0;
            yield { id: lastEventId, type: type || "message", data: data.join("\n") };
          }
          type = "";
          data = [];
        } else if (name === "data") data.push(value);
        else if (name === "event") type = value;
        else if (name === "id" && !value.includes("\0")) newId = value;
        else if (name === "retry" && /^[0-9]+$/.test(value)) retry = Number(value);
      }
    } catch (error) {
      if (error instanceof Stopped) throw error;
      note(`${error.message}${error.cause ? `: ${error.cause.message}` : ""}`);
    }
    const wait = retry + Math.random() * Math.min(WAIT_MAX, 1000 * 2 ** failures);
    failures += 1;
    note(`connecting again in ${(wait / 1000).toFixed(1)} s`);
    await new Promise((done) => setTimeout(done, wait));
  }
}

if (globalThis.process?.argv[1]?.endsWith("subscribe.mjs")) {
  const hub = process.env.HUB ?? "http://127.0.0.1:8080/.well-known/mercure";
  const topics = process.argv.slice(2);
  if (topics.length === 0) {
    console.error("usage: node subscribe.mjs TOPIC...");
    process.exit(2);
  }
  try {
    const options = { token: process.env.TOKEN, note: (text) => console.error(text) };
    for await (const event of subscribe(hub, topics, options)) console.log(JSON.stringify(event));
  } catch (error) {
    console.error(`the server refused the subscription: ${error.message}`);
    process.exit(1);
  }
}
