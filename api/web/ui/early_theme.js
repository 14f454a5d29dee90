// Applies the chosen theme before the first paint, so that the page does not flash.
{
  let chosen = null;
  try {
    chosen = JSON.parse(localStorage.getItem("voxelq.theme"));
  } catch {
    // storage is disabled: the system's theme applies
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
}
