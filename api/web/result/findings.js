// The findings beside the viewer: presence, volumes, downloads, times and facts about the scan.

import { h } from "../ui/dom.js";
import { count, duration, millilitres, percent } from "../ui/format.js";
import { labelColour } from "./label_colours.js";
import { timingsBar } from "./timings.js";

/** Returns the sections that describe a finished job. */
export function findingSections(job) {
  const { tumor, labels, scan, warnings = [] } = job.result;
  return [
    h(
      "section",
      { class: "finding", "aria-label": "Finding" },
      ...warnings.map((warning) => h("p", { class: "warning", role: "note" }, warning.detail)),
      h("p", { class: "presence" }, tumor.present ? "Tumour present" : "No tumour found"),
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
      h("h3", {}, `Time: ${duration(job.timings_s.total)}`),
      ...timingsBar(job.timings_s),
    ),
    h(
      "section",
      {},
      h("h3", {}, "Scan"),
      h(
        "dl",
        { class: "pairs" },
        ...pair("Grid", scan.shape.join(" × ")),
        ...pair("Voxel size", `${scan.voxel_mm.map((mm) => Number(mm.toFixed(2))).join(" × ")} mm`),
        ...pair("Orientation", scan.orientation),
        ...pair("Batch size", count(job.batch.size)),
        ...pair("Attempts", count(job.attempts)),
      ),
    ),
  ];
}

function pair(name, value) {
  return [h("dt", {}, name), h("dd", {}, value)];
}

function downloadLink(path, name, text) {
  return h("a", { class: "button", href: path, download: name }, text);
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
  const titles = ["Label", "Volume", "Voxels"].map((title) => h("th", { scope: "col" }, title));
  return h(
    "table",
    { class: "labels" },
    h("thead", {}, h("tr", {}, ...titles)),
    h("tbody", {}, ...rows),
  );
}
