// Light or dark: as the system has it, until a person chooses.

import { keep } from "./memory.js";

const system = matchMedia("(prefers-color-scheme: dark)");

const opposite = { light: "dark", dark: "light" };

function current() {
  return document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light");
}

/** Makes `button` switch between the two themes. */
export function setUpTheme(button) {
  const nameIt = () => {
    button.setAttribute("aria-label", `Switch to the ${opposite[current()]} theme`);
  };
  button.addEventListener("click", () => {
    const chosen = opposite[current()];
    document.documentElement.dataset.theme = chosen;
    keep("theme", chosen);
    nameIt();
  });
  system.addEventListener("change", nameIt);
  nameIt();
}
