// The light and the dark theme: the system's setting, until the user chooses one.

import { save } from "./browser_storage.js";

const system = matchMedia("(prefers-color-scheme: dark)");

const opposite = { light: "dark", dark: "light" };

function current() {
  return document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light");
}

/** Makes `button` switch between the two themes. */
export function setUpTheme(button) {
  const updateName = () => {
    button.setAttribute("aria-label", `Switch to the ${opposite[current()]} theme`);
  };
  button.addEventListener("click", () => {
    const chosen = opposite[current()];
    document.documentElement.dataset.theme = chosen;
    save("theme", chosen);
    updateName();
  });
  system.addEventListener("change", updateName);
  updateName();
}
