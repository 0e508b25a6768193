// Publishes one event and prints its id.
//
// Usage: node publish.mjs TOPIC DATA [FIELD=VALUE...]   fields: id, type, retry, private, topic
// Environment: HUB, TOKEN

/** Publishes and returns the event's id. `fields` are more pairs of name and value. */
export async function publish(hub, topic, data, { fields = [], token } = {}) {
  const body = new URLSearchParams([["topic", topic], ["data", data], ...fields]);
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  const response = await fetch(hub, { method: "POST", body, headers });
  const answer = await response.text();
  if (response.status !== 200) throw new Error(`${response.status} ${answer.trim()}`);
  return answer;
}

const hub = process.env.HUB ?? "http://127.0.0.1:8080/.well-known/mercure";
const [topic, data, ...more] = process.argv.slice(2);
if (data === undefined) {
  console.error("usage: node publish.mjs TOPIC DATA [FIELD=VALUE...]");
  process.exit(2);
}
try {
  const fields = more.map((field) => {
    const [name, ...value] = field.split("=");
    return [name, value.join("=")];
  });
  console.log(await publish(hub, topic, data, { fields, token: process.env.TOKEN }));
} catch (error) {
  console.error(`cannot publish: ${error.message}${error.cause ? `: ${error.cause.message}` : ""}`);
  process.exit(1);
}
