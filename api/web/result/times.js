// The bar of where the time went: one part for each stage, with its name and its seconds.

import { h } from "../ui/dom.js";
import { duration, STAGE_NAMES } from "../ui/words.js";

/** Returns the bar and its legend for a job's `timings_s`. */
export function timesBar(timings) {
  const stages = Object.keys(STAGE_NAMES).filter((stage) => timings[stage] !== undefined);
  const total = stages.reduce((sum, stage) => sum + timings[stage], 0);
  const words = stages.map((stage) => `${STAGE_NAMES[stage]} ${duration(timings[stage])}`);
  const bar = h("div", { class: "times-bar", role: "img", "aria-label": words.join(", ") });
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
