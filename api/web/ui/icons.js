// Icons, drawn as lines in the colour of the text around them.

const SVG = "http://www.w3.org/2000/svg";

const ICONS = {
  cross: "M5 5l10 10M15 5L5 15",
  again: "M15.5 8A6 6 0 1 0 16 11M16 4v4h-4",
};

/** Returns an icon that screen readers ignore: the button around it has the name. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  for (const [attribute, value] of Object.entries({
    viewBox: "0 0 20 20",
    width: "16",
    height: "16",
    "aria-hidden": "true",
  })) {
    svg.setAttribute(attribute, value);
  }
  path.setAttribute("d", ICONS[name]);
  path.setAttribute("fill", "none");
  path.setAttribute("stroke", "currentColor");
  path.setAttribute("stroke-width", "1.7");
  path.setAttribute("stroke-linecap", "round");
  svg.append(path);
  return svg;
}
