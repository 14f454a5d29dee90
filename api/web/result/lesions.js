// The lesions of a mask: groups of connected voxels, largest first.

/**
 * Returns `[{ voxels, at }]`, largest first. `mask` has a label for each voxel, the first axis of
 * `shape` [I, J, K] varying fastest. Voxels that share a face, an edge or a corner are connected.
 * `at` is the voxel [i, j, k] of the lesion that is nearest to its centre, so it is never outside.
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
      const [i, j, k] = indices(members[next], ni, nj);
      for (let dk = k > 0 ? -1 : 0; dk <= (k < nk - 1 ? 1 : 0); dk++) {
        for (let dj = j > 0 ? -1 : 0; dj <= (j < nj - 1 ? 1 : 0); dj++) {
          for (let di = i > 0 ? -1 : 0; di <= (i < ni - 1 ? 1 : 0); di++) {
            const neighbour = i + di + ni * (j + dj + nj * (k + dk));
            if (mask[neighbour] !== 0 && seen[neighbour] === 0) {
              seen[neighbour] = 1;
              members.push(neighbour);
            }
          }
        }
      }
    }
    lesions.push({ voxels: members.length, at: nearestToCentre(members, ni, nj) });
  }
  return lesions.sort((a, b) => b.voxels - a.voxels);
}

function indices(index, ni, nj) {
  return [index % ni, Math.floor(index / ni) % nj, Math.floor(index / (ni * nj))];
}

function nearestToCentre(members, ni, nj) {
  const sum = [0, 0, 0];
  for (const index of members) indices(index, ni, nj).forEach((value, axis) => (sum[axis] += value));
  const centre = sum.map((value) => value / members.length);
  let nearest = null;
  let leastDistance = Infinity;
  for (const index of members) {
    const at = indices(index, ni, nj);
    const distance = at.reduce((total, value, axis) => total + (value - centre[axis]) ** 2, 0);
    if (distance < leastDistance) [nearest, leastDistance] = [at, distance];
  }
  return nearest;
}
