// lead.js tells MQLambda what a visitor does.
//
//   <script>window.lead = window.lead || [];</script>
//   lead.push(["track", "Demo Requested", { plan: "team" }]);
//
// The same line works before this script has come and after.

import { watchForms } from "./forms.js";
import { happened, place, release } from "./messages.js";
import { flush } from "./queue.js";
import { countsPages, refused } from "./settings.js";
import { decide, forgetAll, forgetVisitor } from "./visitor.js";

const calls = {
  track: (event, properties) => happened("track", { event, properties }),
  identify: (who, traits) =>
    happened("identify", typeof who === "object" ? { traits: who } : { userId: who, traits }),
  page: (name, properties) =>
    happened("page", { name, properties: { ...place(), ...properties } }),
  consent: (answer) => {
    const yes = answer === true;
    decide(yes);
    release(yes);
  },
  reset: forgetVisitor,
};

/** Make calls, each a name and what it takes; nothing is thrown into the page that makes them. */
function push(...made) {
  for (const [name, ...rest] of made) {
    try {
      calls[name](...rest);
    } catch (error) {
      console.warn("lead.js:", error);
    }
  }
}

/** Count a page view now, and whenever the path changes without a new page being loaded. */
function watchPages() {
  let path;
  const view = () => {
    if (path === location.pathname) return;
    path = location.pathname;
    push(["page"]);
  };
  const { pushState } = history;
  history.pushState = function (...state) {
    pushState.apply(this, state);
    setTimeout(view); // when the page has set its title
  };
  addEventListener("popstate", view);
  view();
}

function start(waiting) {
  window.lead = { push };
  push(...waiting);
  if (countsPages) watchPages();
  watchForms();
  for (const moment of ["online", "pagehide", "visibilitychange"]) addEventListener(moment, flush);
  flush();
}

const waiting = window.lead || [];
if (refused) {
  window.lead = { push() {} };
  forgetAll();
} else if (Array.isArray(waiting)) {
  start(waiting); // and not again, should the page hold the script twice
}
