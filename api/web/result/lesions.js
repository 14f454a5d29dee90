// Finding the lesions of a mask: connected voxels, largest first.

/**
 * Returns `[{ voxels, at }]`, largest first. `mask` holds a label for each voxel, the first axis
 * of `shape` [I, J, K] running fastest; voxels touch by faces, edges and corners. `at` is the
 * voxel [i, j, k] of the lesion that is nearest to its middle, so that it lies inside.
 */
export function findLesions(mask, shape) {
  const [ni, nj, nk] = shape;
  const seen = new Uint8Array(mask.length);
  const lesions = [];
  for (let start = 0; start < mask.length; start++) {
    if (mask[start] === 0 || seen[start] === 1) continue;
    const members = [start];
    seen[start] = 1;
    for (let next = 0; next < members.length; next++) {
      const [i, j, k] = place(members[next], ni, nj);
      for (let dk = k > 0 ? -1 : 0; dk <= (k < nk - 1 ? 1 : 0); dk++) {
        for (let dj = j > 0 ? -1 : 0; dj <= (j < nj - 1 ? 1 : 0); dj++) {
          for (let di = i > 0 ? -1 : 0; di <= (i < ni - 1 ? 1 : 0); di++) {
            const near = i + di + ni * (j + dj + nj * (k + dk));
            if (mask[near] !== 0 && seen[near] === 0) {
              seen[near] = 1;
              members.push(near);
            }
          }
        }
      }
    }
    lesions.push({ voxels: members.length, at: middle(members, ni, nj) });
  }
  return lesions.sort((a, b) => b.voxels - a.voxels);
}

function place(index, ni, nj) {
  return [index % ni, Math.floor(index / ni) % nj, Math.floor(index / (ni * nj))];
}

function middle(members, ni, nj) {
  const sum = [0, 0, 0];
  for (const index of members) place(index, ni, nj).forEach((value, axis) => (sum[axis] += value));
  const centre = sum.map((value) => value / members.length);
  let best = null;
  let least = Infinity;
  for (const index of members) {
    const at = place(index, ni, nj);
    const distance = at.reduce((total, value, axis) => total + (value - centre[axis]) ** 2, 0);
    if (distance < least) [best, least] = [at, distance];
  }
  return best;
}
