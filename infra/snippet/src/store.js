// What is remembered in this browser: localStorage, or where that is closed or full, this page's
// memory. Each thing has a key of its own, so two tabs never overwrite each other's.

const PREFIX = "lead.";

const memory = {};
let disk = memory;
try {
  disk = localStorage || memory;
} catch {
  // The browser keeps it closed.
}

export const get = (name) => memory[PREFIX + name] ?? disk[PREFIX + name];

export function put(name, text) {
  try {
    disk[PREFIX + name] = text;
  } catch {
    memory[PREFIX + name] = text;
  }
}

export function remove(name) {
  delete memory[PREFIX + name];
  delete disk[PREFIX + name];
}

/** Return the names that begin so, in order. */
export const names = (beginning = "") =>
  Object.keys({ ...disk, ...memory })
    .filter((key) => key.startsWith(PREFIX + beginning))
    .map((key) => key.slice(PREFIX.length))
    .sort();
