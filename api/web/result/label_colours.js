// The colours of labels. They differ on grey, for colour-blind people too (Okabe and Ito, 2008).

const COLOURS = [
  [255, 96, 32],
  [86, 180, 233],
  [240, 228, 66],
  [0, 190, 140],
  [204, 121, 200],
  [120, 140, 255],
  [230, 159, 0],
  [200, 200, 200],
];

/** Returns red, green and blue of the label at `index` in the model's list. */
export function labelColour(index) {
  return COLOURS[index % COLOURS.length];
}

/** Returns NiiVue's label map for `labels`, background first. */
export function labelMap(labels) {
  const colours = labels.map((_, index) => labelColour(index));
  return {
    R: [0, ...colours.map((colour) => colour[0])],
    G: [0, ...colours.map((colour) => colour[1])],
    B: [0, ...colours.map((colour) => colour[2])],
    A: [0, ...colours.map(() => 255)],
    I: [0, ...labels.map((label) => label.value)],
    labels: ["", ...labels.map((label) => label.name)],
  };
}
