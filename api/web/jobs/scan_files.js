// File names: the name of a scan, and the channel of a model that a file contains.

const ENDING = /\.nii(\.gz)?$/i;

/** Returns a file's name without `.nii` or `.nii.gz`. */
export function stem(name) {
  return name.replace(ENDING, "");
}

/**
 * Returns the file of each input, found by name: `t1c.nii.gz` or `sub-01_t1c.nii.gz`. An input
 * with no matching file, or with several, is left out.
 */
export function matchChannels(files, inputs) {
  const matched = {};
  for (const { name } of inputs) {
    const wanted = name.toLowerCase();
    const stems = files.map((file) => stem(file.name).toLowerCase());
    const candidates = files.filter(
      (_, index) =>
        stems[index] === wanted ||
        ["-", "_", "."].some((separator) => stems[index].endsWith(separator + wanted)),
    );
    if (candidates.length === 1) matched[name] = candidates[0];
  }
  return matched;
}

/** Returns a name for a scan: what the names of its files have in common. */
export function scanName(files) {
  const names = Object.values(files).map((file) => file.name);
  if (names.length === 1) return names[0];
  let common = names[0];
  for (const name of names) while (!name.startsWith(common)) common = common.slice(0, -1);
  return stem(common.replace(/[-_.]+$/, "")) || `${names[0]} and ${names.length - 1} more`;
}
