// <form data-lead="contact" method="post" action="https://…/f/contact">: the browser posts it to us
// itself, with or without this script. A form that goes elsewhere is copied to us as well.

import { utm } from "./messages.js";
import { enqueue } from "./queue.js";
import { api } from "./settings.js";
import { agreed, anonymousId } from "./visitor.js";

const opened = Date.now();

/** Watch every form of the page that has `data-lead`, also those that it gets later. */
export function watchForms() {
  addEventListener("formdata", ({ target, formData }) => {
    if (isOurs(target)) sign(formData);
  });
  // Before the page's own listeners, which may stop the event.
  addEventListener("submit", ({ target, submitter }) => copy(target, submitter), true);
}

/** Send what a form says that the browser won't bring to us. */
function copy(form, submitter) {
  if (!isWatched(form) || isOurs(form)) return;
  const data = new FormData(form, submitter);
  for (const { name, type, autocomplete } of form.elements) {
    // Files, passwords and payment cards are none of our business.
    if (/file|password|cc-/.test(type + autocomplete)) data.delete(name);
  }
  sign(data);
  enqueue({ form: form.dataset.lead, fields: [...data] });
}

const isWatched = (form) => form.dataset.lead && agreed();

// A copy has no fields: one of them may be called `action`.
const isOurs = (form) => isWatched(form) && form.cloneNode().action.startsWith(`${api}/f/`);

function sign(data) {
  for (const [name, value] of utm) data.set(name, value);
  data.set("_opened", opened);
  data.set("_anonymous_id", anonymousId());
}
