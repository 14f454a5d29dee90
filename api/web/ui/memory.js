// What this browser remembers between two visits. Where storage is closed, nothing is remembered.

const PREFIX = "voxelq.";

/** Returns what was kept under `name`, or `otherwise`. */
export function recall(name, otherwise) {
  try {
    const text = localStorage.getItem(PREFIX + name);
    return text === null ? otherwise : JSON.parse(text);
  } catch {
    return otherwise;
  }
}

/** Keeps `value` under `name`; a full or closed storage is no fault worth a word. */
export function keep(name, value) {
  try {
    localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // the page works without a memory
  }
}
