// What was found, in words and numbers: presence, volumes, times, and what can be downloaded.

import { labelColour } from "./colours.js";
import { h } from "../ui/dom.js";
import { timesBar } from "./times.js";
import { count, duration, millilitres, percent } from "../ui/words.js";

/** Returns the facts of a finished job. */
export function facts(job) {
  const { tumor, labels, scan } = job.result;
  return [
    h(
      "section",
      { class: "finding", "aria-label": "Finding" },
      h("p", { class: "verdict" }, tumor.present ? "Tumour present" : "No tumour found"),
      h(
        "dl",
        { class: "pairs" },
        ...pair("Probability", percent(tumor.probability)),
        ...pair("Volume", millilitres(tumor.volume_ml)),
      ),
    ),
    ...(labels.length > 0 ? [h("section", {}, h("h3", {}, "Labels"), labelTable(labels))] : []),
    h(
      "section",
      { class: "downloads" },
      h("h3", {}, "Download"),
      downloadLink(job.links.mask, `${job.id}-mask.nii.gz`, "Mask"),
      downloadLink(job.links.self, `${job.id}.json`, "JSON"),
      downloadLink(job.links.preview, `${job.id}.png`, "Picture"),
    ),
    h(
      "section",
      {},
      h("h3", {}, `Where ${duration(job.timings_s.total)} went`),
      ...timesBar(job.timings_s),
    ),
    h(
      "section",
      {},
      h("h3", {}, "Scan"),
      h(
        "dl",
        { class: "pairs" },
        ...pair("Grid", scan.shape.join(" × ")),
        ...pair("Voxel", `${scan.voxel_mm.map((mm) => Number(mm.toFixed(2))).join(" × ")} mm`),
        ...pair("Axes", scan.orientation),
        ...pair("Batch of", count(job.batch.size)),
        ...pair("Attempts", count(job.attempts)),
      ),
    ),
  ];
}

function pair(name, value) {
  return [h("dt", {}, name), h("dd", {}, value)];
}

function downloadLink(path, name, words) {
  return h("a", { class: "button", href: path, download: name }, words);
}

function labelTable(labels) {
  const rows = labels.map((label, index) => {
    const swatch = h("span", { class: "swatch" });
    swatch.style.backgroundColor = `rgb(${labelColour(index).join(" ")})`;
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, swatch, label.name),
      h("td", {}, millilitres(label.volume_ml)),
      h("td", {}, count(label.voxels)),
    );
  });
  const heads = ["Label", "Volume", "Voxels"].map((words) => h("th", { scope: "col" }, words));
  return h(
    "table",
    { class: "labels" },
    h("thead", {}, h("tr", {}, ...heads)),
    h("tbody", {}, ...rows),
  );
}
