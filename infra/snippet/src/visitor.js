// Who is here, and whether we may know.

import { mustAsk } from "./settings.js";
import { get, names, put, remove } from "./store.js";
import { uuid } from "./uuid.js";

/** Tell whether this visitor may be counted. */
export const agreed = () => (get("consent") ?? String(!mustAsk)) === "true";

/** Remember what the visitor decided, and after a no forget all else. */
export function decide(yes) {
  if (!yes) forgetAll();
  // What would be so without a decision needs no storage.
  if (yes === mustAsk) put("consent", String(yes));
  else remove("consent");
}

/** Return this browser's own id, made when it is first needed. */
export function anonymousId() {
  if (!get("id")) put("id", uuid());
  return get("id");
}

export const userId = () => get("user");

/** Remember who signed in, if that was said. */
export const rememberUser = (id) => id && put("user", id);

/** Forget who was here: the next visitor of this browser is somebody else. */
export const forgetVisitor = () => ["id", "user"].forEach(remove);

/** Leave nothing of ours in this browser. */
export const forgetAll = () => names().forEach(remove);
