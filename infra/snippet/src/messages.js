// What happened, in Segment's words: https://segment.com/docs/connections/spec/

import { enqueue } from "./queue.js";
import { mustAsk } from "./settings.js";
import { uuid } from "./uuid.js";
import { agreed, anonymousId, rememberUser, userId } from "./visitor.js";

/** The UTM parameters of the landing page: pairs of a name and a value. */
export const utm = [...new URLSearchParams(location.search)].filter(([name]) =>
  /^utm_(campaign|source|medium|term|content)$/.test(name),
);

const campaign = {};
for (const [name, value] of utm) campaign[name.slice(4).replace("campaign", "name")] = value;

/** What happened before the visitor decided; after a no there is nothing to hold it in. */
let held = agreed() || mustAsk ? [] : null;

/** Note that something happened, here and now. */
export function happened(type, fields) {
  const context = { page: place(), campaign };
  const message = { type, messageId: uuid(), timestamp: new Date(), context, ...fields };
  if (agreed()) send(message);
  else held?.push(message);
}

/** Send what was held back, or drop it. */
export function release(yes) {
  const before = held || [];
  held = yes ? [] : null;
  if (yes) before.forEach(send);
}

/** Return where we are, without query and fragment: people's addresses may stand in those. */
export const place = () => ({
  path: location.pathname,
  url: bare(location.href),
  referrer: bare(document.referrer),
  title: document.title,
});

const bare = (url) => url.split(/[?#]/)[0];

function send(message) {
  rememberUser(message.userId);
  enqueue({ anonymousId: anonymousId(), userId: userId(), ...message });
}
