// WebSocket on both sides: the package `ws`, and the client that Node itself has.
//
//     websocket.mjs serve          echoes; prints where it listens, and how each connection ended
//     websocket.mjs visit URL      all that a client can see, checked; prints `fine` at the end
//
// It ends by itself after ten minutes, whatever becomes of who started it.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createRequire } from "node:module";
import path from "node:path";

// The packages are where Node is: node_modules/.bin/node, a link into node_modules.
const modules = path.join(process.execPath, "../../..");
const { WebSocket, WebSocketServer } = createRequire(path.join(modules, "x.js"))("ws");
setTimeout(() => process.exit(3), 600_000).unref();

const MEGABYTE = 1 << 20;

/** Refuses what is not meant for it, as a service with a login would. */
const refuse = ({ req }, answer) => {
  answer(!req.url.startsWith("/refused"), 401, "no", { "X-Why": "because" });
};

const serve = () => {
  const server = new WebSocketServer({
    host: "127.0.0.1",
    port: 0,
    maxPayload: 4 * MEGABYTE,
    perMessageDeflate: true,
    handleProtocols: (offered) => offered.has("echo.1") && "echo.1",
    verifyClient: refuse,
  });
  server.on("listening", () => console.log(`listening on 127.0.0.1:${server.address().port}`));
  server.on("connection", (socket, request) => {
    // At once, so that it may share a packet with the end of the handshake.
    socket.send(`hello ${request.url} ${request.headers.origin ?? ""}`);
    socket.on("pong", (data) => socket.send(`pong ${data}`));
    socket.on("close", (code, reason) => console.log(`closed ${code} ${reason}`));
    socket.on("message", (data, binary) => {
      const text = binary ? "" : data.toString();
      if (text === "ping me") socket.ping("from the server");
      else if (text === "close me") socket.close(4002, "the server says é");
      else if (text === "drop me") socket.terminate();
      else socket.send(data, { binary });
    });
  });
};

/** The next message, as text or as bytes. */
const message = async (socket) => {
  const [data, binary] = await once(socket, "message");
  return binary ? data : data.toString();
};

const open = async (url) => {
  const socket = new WebSocket(url, ["echo.2", "echo.1"], { origin: "http://page.example" });
  assert.equal(await message(socket), "hello /chat?a=%20b http://page.example");
  return socket;
};

const ended = async (socket) => {
  const [code, reason] = await once(socket, "close");
  return [code, reason.toString()];
};

const echoes = async (socket) => {
  const big = randomBytes(MEGABYTE);
  for (const sent of ["text é 🌊", "", "x".repeat(MEGABYTE), Buffer.from([0, 255, 10, 13]), big]) {
    socket.send(sent);
    assert.deepEqual(await message(socket), sent);
  }
  // A message in fragments, with a ping between them.
  const pong = once(socket, "pong");
  const answer = message(socket);
  socket.send("in ", { fin: false });
  socket.ping("from the client");
  socket.send("fragments", { fin: true });
  assert.equal((await pong)[0].toString(), "from the client");
  assert.equal(await answer, "in fragments");
};

const visit = async (base) => {
  const url = `${base}/chat?a=%20b`;
  let socket = await open(url);
  assert.equal(socket.protocol, "echo.1");
  await echoes(socket);
  const ping = once(socket, "ping");
  socket.send("ping me");
  assert.equal((await ping)[0].toString(), "from the server");
  assert.equal(await message(socket), "pong from the server");
  socket.close(4001, "the client says é");
  assert.deepEqual(await ended(socket), [4001, "the client says é"]);

  socket = await open(url);
  socket.send("close me");
  assert.deepEqual(await ended(socket), [4002, "the server says é"]);

  socket = await open(url);
  socket.send("drop me");
  assert.deepEqual(await ended(socket), [1006, ""]);

  socket = await open(url);
  socket.terminate();

  socket = new WebSocket(`${base}/refused`);
  socket.on("error", () => {});
  const [, response] = await once(socket, "unexpected-response");
  const body = Buffer.concat(await response.toArray()).toString();
  assert.deepEqual([response.statusCode, response.headers["x-why"], body], [401, "because", "no"]);
  socket.terminate();

  await Promise.all(Array.from({ length: 50 }, () => open(url).then(async (one) => {
    one.send("among many");
    assert.equal(await message(one), "among many");
    one.close(1000);
    assert.deepEqual(await ended(one), [1000, ""]);
  })));

  // As in a browser.
  const own = new globalThis.WebSocket(url, "echo.1");
  own.binaryType = "arraybuffer";
  await once(own, "open");
  const messages = [];
  const many = new Promise((done) => {
    own.onmessage = ({ data }) => messages.push(data) === 3 && done();
  });
  own.send("é");
  own.send(new Uint8Array(MEGABYTE).fill(7));
  await many;
  assert.equal(messages[1], "é");
  assert.deepEqual(new Uint8Array(messages[2]), new Uint8Array(MEGABYTE).fill(7));
  own.close(4003, "its own");
  const [end] = await once(own, "close");
  assert.deepEqual([end.code, end.reason, end.wasClean], [4003, "its own", true]);
  console.log("fine");
};

const [what, ...rest] = process.argv.slice(2);
await { serve, visit }[what](...rest);
