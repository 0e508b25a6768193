// Node's own EventSource: prints each event as a line of JSON, and when the stream opens.
const source = new EventSource(process.argv[2]);
const show = ({ lastEventId, type, data }) => {
  console.log(JSON.stringify({ id: lastEventId, type, data }));
};
source.onopen = () => console.error("connected");
source.onerror = () => console.error("error", source.readyState);
source.onmessage = show;
source.addEventListener("gap", show);
// While it waits to reconnect, Node's EventSource does not keep the process alive.
setInterval(() => {}, 60_000);
