// Runs before anything is painted, so that a chosen theme never flashes in late.
{
  let chosen = null;
  try {
    chosen = JSON.parse(localStorage.getItem("voxelq.theme"));
  } catch {
    // storage is closed to us: the system's theme holds
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
}
