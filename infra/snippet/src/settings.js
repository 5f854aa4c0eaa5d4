// What the script tag says:
//   <script async src="https://…/lead.js" data-key="pk_…"></script>

const script = document.currentScript;
const told = script.dataset;

/** The API: wherever this script came from. */
export const api = new URL(script.src).origin;

/** The public write key. */
export const writeKey = told.key;

/** Nothing is sent or stored before `consent` was given: data-consent="required". */
export const mustAsk = told.consent === "required";

/** The page calls `page` itself: data-pages="manual". */
export const countsPages = told.pages !== "manual";

/** The browser says that its owner is not to be tracked, and no data-signals="ignore" overrules it. */
export const refused =
  told.signals !== "ignore" &&
  (navigator.globalPrivacyControl || navigator.doNotTrack === "1" || false);
