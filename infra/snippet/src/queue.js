// What is on its way. It stays in the store until the API has answered, so neither a closed tab
// nor a dead network loses it. What was answered and never heard is sent again under its old id,
// and counts once.

import { api, writeKey } from "./settings.js";
import { get, names, put, remove } from "./store.js";
import { uuid } from "./uuid.js";

const MESSAGE_BYTES = 32000;
const MOST_WAITING = 1000;
// A request that outlives its page has at most 64 KiB.
const REQUEST_BYTES = 60000;
const FIRST_WAIT = 1000;
const LONGEST_WAIT = 300000;

const sending = new Set();
let failures = 0;
let timer = 0;

/** Take a message, or a form as `{form, fields}`, and send it soon. */
export function enqueue(entry) {
  const text = JSON.stringify(entry);
  if (bytes(text) > MESSAGE_BYTES || names("q.").length > MOST_WAITING) {
    return console.warn("lead.js: too large, or too many wait");
  }
  put(`q.${entry.messageId || uuid()}`, text);
  soon(0);
}

/** Send now what waits, whatever else is on its way. */
export function flush() {
  clearTimeout(timer);
  timer = 0;
  const batch = [];
  const mine = [];
  let size = 0;
  for (const name of names("q.").filter((name) => !sending.has(name))) {
    const text = get(name);
    const entry = JSON.parse(text);
    if (entry.form) {
      post(`/f/${entry.form}`, new URLSearchParams(entry.fields), [name]);
    } else if ((size += bytes(text)) < REQUEST_BYTES) {
      batch.push(entry);
      mine.push(name);
    }
  }
  const sentAt = new Date();
  if (mine[0]) post("/v1/batch", JSON.stringify({ writeKey, sentAt, batch }), mine);
}

/** Post the entries of these names. Without headers of ours the browser asks nobody beforehand. */
async function post(path, body, mine) {
  mine.forEach((name) => sending.add(name));
  let status = 0;
  try {
    const headers = { accept: "application/json" };
    const how = { method: "POST", keepalive: true, credentials: "omit", headers, body };
    status = (await fetch(api + path, how)).status;
  } catch {
    // No network, or no answer that we may read.
  }
  mine.forEach((name) => sending.delete(name));
  if (!status || status === 429 || status > 499) {
    soon(Math.min(FIRST_WAIT * 2 ** failures++, LONGEST_WAIT) * (0.5 + Math.random() / 2));
  } else {
    failures = 0;
    mine.forEach(remove);
    soon(0);
  }
}

/** Send after so many milliseconds; whoever waits already goes on waiting. */
function soon(wait) {
  timer ||= setTimeout(flush, wait);
}

const bytes = (text) => new Blob([text]).size;
