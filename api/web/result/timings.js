// The times of a job's stages, as a bar and a legend.

import { h } from "../ui/dom.js";
import { duration } from "../ui/format.js";

const STAGE_NAMES = {
  queue: "Queue",
  load: "Load",
  preprocess: "Preprocess",
  inference: "Inference",
  postprocess: "Postprocess",
  store: "Store",
};

/** Returns the bar and its legend for a job's `timings_s`. */
export function timingsBar(timings) {
  const stages = Object.keys(STAGE_NAMES).filter((stage) => timings[stage] !== undefined);
  const total = stages.reduce((sum, stage) => sum + timings[stage], 0);
  const texts = stages.map((stage) => `${STAGE_NAMES[stage]} ${duration(timings[stage])}`);
  const bar = h("div", { class: "times-bar", role: "img", "aria-label": texts.join(", ") });
  for (const stage of stages) {
    const part = h("span", { class: "times-part", "data-stage": stage });
    part.style.flexGrow = String((100 * timings[stage]) / total);
    bar.append(part);
  }
  const legend = stages.map((stage) =>
    h(
      "li",
      {},
      h("span", { class: "key", "data-stage": stage }),
      h("span", {}, STAGE_NAMES[stage]),
      h("span", { class: "amount" }, duration(timings[stage])),
    ),
  );
  return [bar, h("ul", { class: "times-legend", "aria-hidden": "true" }, ...legend)];
}
