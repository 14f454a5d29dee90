// Which file is which: the names of scans, and which channel of a model a file holds.

const ENDING = /\.nii(\.gz)?$/i;

/** The name of a scan without its ending. */
export function stem(name) {
  return name.replace(ENDING, "");
}

/**
 * Finds the file of each input by its name: `t1c.nii.gz`, or `sub-01_t1c.nii.gz`. Inputs that
 * none or several files match are left out.
 */
export function matchChannels(files, inputs) {
  const matched = {};
  for (const { name } of inputs) {
    const wanted = name.toLowerCase();
    const stems = files.map((file) => stem(file.name).toLowerCase());
    const found = files.filter(
      (_, index) =>
        stems[index] === wanted ||
        ["-", "_", "."].some((mark) => stems[index].endsWith(mark + wanted)),
    );
    if (found.length === 1) matched[name] = found[0];
  }
  return matched;
}

/** What the files of one scan have in common in their names, for a person to know it by. */
export function scanName(files) {
  const names = Object.values(files).map((file) => file.name);
  if (names.length === 1) return names[0];
  let common = names[0];
  for (const name of names) while (!name.startsWith(common)) common = common.slice(0, -1);
  return stem(common.replace(/[-_.]+$/, "")) || `${names[0]} and ${names.length - 1} more`;
}
