// The operator's strip: how the queue and the workers fare, asked every two seconds. It is also
// what finds out that the service has gone, and that it is back.

import { getQueue } from "../net/api.js";
import { connection } from "../net/connection.js";
import { byId, h, say } from "../ui/dom.js";
import { about, bytes, count } from "../ui/words.js";

const EVERY_MS = 2000;
const UNKNOWN = "–";

/** Keeps the strip up to date for as long as the page is in sight. */
export function setUpStrip() {
  const ask = async () => {
    if (!document.hidden) {
      try {
        show(await getQueue());
      } catch {
        show(null);
      }
    }
    setTimeout(ask, EVERY_MS);
  };
  ask();
  const banner = byId("offline");
  connection.addEventListener("change", () => {
    banner.hidden = connection.reached;
    say(
      banner,
      connection.reached
        ? ""
        : "The service cannot be reached. What was accepted goes on; this page tries again by itself.",
    );
  });
}

function show(queue) {
  const figures = queue === null ? {} : figuresOf(queue);
  for (const place of document.querySelectorAll("[data-figure]")) {
    say(place, figures[place.dataset.figure] ?? UNKNOWN);
  }
  byId("strip").classList.toggle("stale", queue === null);
  if (queue !== null) byId("workers").replaceChildren(workerTable(queue.workers));
}

function figuresOf(queue) {
  return {
    queued: count(queue.queued),
    started: count(queue.started),
    workers: count(queue.workers.length),
    batch: queue.scans_per_batch === null ? UNKNOWN : String(Number(queue.scans_per_batch.toFixed(1))),
    hourly: count(Math.round(queue.scans_per_hour)),
    wait: queue.workers.length === 0 ? "no worker" : queue.eta_s === null ? UNKNOWN : about(queue.eta_s),
  };
}

function workerTable(workers) {
  if (workers.length === 0) {
    return h("p", { class: "empty" }, "No worker listens. Jobs are kept until one does.");
  }
  const heads = ["Worker", "Model", "Device", "Arithmetic", "In hand", "Peak memory"];
  const rows = workers.map((worker) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, worker.id.slice(-8)),
      h("td", {}, worker.model ?? UNKNOWN),
      h("td", {}, worker.device),
      h("td", {}, worker.precision + (worker.compiled ? ", compiled" : "")),
      h("td", {}, count(worker.batch.length)),
      h("td", {}, worker.peak_memory_bytes === null ? UNKNOWN : bytes(worker.peak_memory_bytes)),
    ),
  );
  return h(
    "table",
    {},
    h("thead", {}, h("tr", {}, ...heads.map((words) => h("th", { scope: "col" }, words)))),
    h("tbody", {}, ...rows),
  );
}
