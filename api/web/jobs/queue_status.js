// The status of the queue and the workers at the top of the page, loaded every two seconds. These
// calls also detect that the service cannot be reached, and that it is reachable again.

import { getQueue } from "../net/api.js";
import { connection } from "../net/connection.js";
import { byId, h, setText } from "../ui/dom.js";
import { about, bytes, count } from "../ui/format.js";

const REFRESH_MS = 2000;
const UNKNOWN = "–";

/** Keeps the status up to date while the page is visible. */
export function showQueueStatus() {
  const refresh = async () => {
    if (!document.hidden) {
      try {
        show(await getQueue());
      } catch {
        show(null);
      }
    }
    setTimeout(refresh, REFRESH_MS);
  };
  refresh();
  const banner = byId("offline");
  connection.addEventListener("change", () => {
    banner.hidden = connection.reachable;
    setText(
      banner,
      connection.reachable
        ? ""
        : "The service cannot be reached. Accepted scans are not lost. The page tries again.",
    );
  });
}

function show(queue) {
  const figures = queue === null ? {} : figuresOf(queue);
  for (const element of document.querySelectorAll("[data-figure]")) {
    setText(element, figures[element.dataset.figure] ?? UNKNOWN);
  }
  byId("queue-status").classList.toggle("stale", queue === null);
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
    return h("p", { class: "empty" }, "No worker is running. Jobs wait until one starts.");
  }
  const titles = ["Worker", "Model", "Device", "Precision", "Active jobs", "Peak memory"];
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
    h("thead", {}, h("tr", {}, ...titles.map((title) => h("th", { scope: "col" }, title)))),
    h("tbody", {}, ...rows),
  );
}
