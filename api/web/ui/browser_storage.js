// Values that the browser keeps between two visits. If storage is disabled, nothing is kept.

const PREFIX = "voxelq.";

/** Returns the value that was saved under `name`, or `fallback`. */
export function readSaved(name, fallback) {
  try {
    const text = localStorage.getItem(PREFIX + name);
    return text === null ? fallback : JSON.parse(text);
  } catch {
    return fallback;
  }
}

/** Saves `value` under `name`. */
export function save(name, value) {
  try {
    localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // storage is full or disabled; the page works without it
  }
}
