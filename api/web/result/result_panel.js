// The panel that shows the selected job: its progress or its result, and its buttons.

import { nameOf, STAGES, STATUS } from "../jobs/job_text.js";
import { isTerminal } from "../net/job_updates.js";
import { byId, h, setText } from "../ui/dom.js";
import { about, percent, plural, timeOfDay } from "../ui/format.js";
import { findingSections } from "./findings.js";
import { ViewerPanel } from "./viewer_panel.js";

/** Shows one job at a time; `actions` has cancel, runAgain, remove and copyLink. */
export class ResultPanel {
  #actions;
  #viewerPanel = new ViewerPanel();
  #drawn = null;
  #parts = {};

  constructor(actions) {
    this.#actions = actions;
  }

  /** Shows that no job is selected. */
  showNothing() {
    this.#draw("nothing", "Result", () => [
      h("p", { class: "big" }, "No scan selected"),
      h("p", {}, "Submit a scan, or choose a job from the list."),
      h("p", {}, "If you have no scan of your own, try the sample scan."),
    ]);
  }

  /** Shows that the job is being loaded. */
  showLoading() {
    this.#draw("loading", "Loading…", () => [h("div", { class: "skeleton", "aria-hidden": "true" })]);
  }

  /** Shows that the service does not have the job. */
  showGone() {
    this.#draw("gone", "This job was not found", () => [
      h("p", {}, "It was deleted, or it ended so long ago that the service has removed it."),
    ]);
  }

  /** Shows why the job could not be loaded. */
  showProblem(problem) {
    this.#draw(`problem ${problem.message}`, problem.title, () => [
      h("p", { role: "alert" }, problem.detail ?? ""),
    ]);
  }

  /** Shows the current state of a job. */
  show(entry) {
    const { job } = entry;
    const title = nameOf(entry);
    if (!isTerminal(job)) {
      this.#draw(`${job.id} live`, title, () => this.#liveBody());
      this.#update(job);
    } else if (job.status === "finished") {
      this.#draw(`${job.id} finished`, title, () => []);
      if (byId("viewer-panel").hidden) {
        byId("findings").replaceChildren(...findingSections(job));
        byId("viewer-panel").hidden = false;
        byId("result-body").hidden = true;
      }
      this.#viewerPanel.show(job);
    } else {
      this.#draw(`${job.id} ${job.status}`, title, () => endedBody(job));
    }
    setText(byId("result-meta"), summaryText(job));
    this.#addButtons(entry);
  }

  /** Shows what `body` returns, unless `key` is shown already: focus and selection are kept. */
  #draw(key, title, body) {
    setText(byId("result-title"), title);
    byId("result-title").title = title;
    if (this.#drawn === key) return;
    this.#drawn = key;
    this.#viewerPanel.clear();
    byId("viewer-panel").hidden = true;
    byId("result-body").hidden = false;
    byId("result-body").replaceChildren(...body());
    byId("result-body").dataset.state = key.split(" ").at(-1);
    byId("result-actions").replaceChildren();
    setText(byId("result-meta"), "\u00a0");
  }

  #liveBody() {
    const parts = {
      big: h("p", { class: "big" }),
      small: h("p", { class: "small" }),
      bar: h("progress", { max: "1", "aria-label": "Progress of this job" }),
      steps: h("ol", { class: "steps" }),
    };
    for (const [stage, text] of Object.entries({ queue: "Waiting in the queue", ...STAGES })) {
      parts.steps.append(h("li", { "data-step": stage }, text));
    }
    this.#parts = parts;
    return [parts.big, parts.small, parts.bar, parts.steps];
  }

  #update(job) {
    const { big, small, bar, steps } = this.#parts;
    const [headline, detail] = liveText(job);
    setText(big, headline);
    setText(small, detail);
    bar.value = job.progress;
    const current = job.status === "queued" ? "queue" : job.stage;
    const order = [...steps.children];
    const at = order.findIndex((step) => step.dataset.step === current);
    order.forEach((step, index) => {
      step.dataset.state = index < at ? "done" : index === at ? "now" : "ahead";
      if (index === at) step.setAttribute("aria-current", "step");
      else step.removeAttribute("aria-current");
    });
  }

  #addButtons(entry) {
    const buttons = byId("result-actions");
    if (buttons.children.length > 0) return;
    const button = (text, onClick, style = "") =>
      h("button", { class: `button ${style}`, type: "button", on: { click: onClick } }, text);
    const link = button("Copy link", async () => {
      setText(link, (await this.#actions.copyLink(entry)) ? "Copied" : "Use the address bar");
      setTimeout(() => setText(link, "Copy link"), 2000);
    });
    buttons.append(link);
    if (!isTerminal(entry.job)) {
      buttons.append(button("Cancel", () => this.#actions.cancel(entry)));
      return;
    }
    buttons.append(
      button("Run again", () => this.#actions.runAgain(entry)),
      askTwice(button("Delete", () => {}, "danger"), () => this.#actions.remove(entry)),
    );
  }
}

/** Makes `button` ask for a second click before it acts. */
function askTwice(button, act) {
  const text = button.textContent;
  let armed = false;
  const disarm = () => {
    armed = false;
    setText(button, text);
  };
  button.addEventListener("click", () => {
    if (armed) {
      act();
      return;
    }
    armed = true;
    setText(button, "Really delete?");
  });
  button.addEventListener("blur", disarm);
  return button;
}

function summaryText(job) {
  return [
    STATUS[job.status],
    `${job.model.name} ${job.model.version}`,
    job.priority,
    `submitted ${timeOfDay(job.created_at)}`,
  ].join(" · ");
}

function liveText(job) {
  if (job.status === "started") {
    return [percent(job.progress), STAGES[job.stage] ?? "Running on a worker"];
  }
  if (job.position === null) return ["Queued", ""];
  const retry = job.attempts > 0 ? " A worker stopped; the scan will run again." : "";
  return [
    job.position === 0 ? "Next in line" : `${plural(job.position, "scan")} ahead`,
    (job.eta_s === null ? "The wait is not known yet." : `Done in ${about(job.eta_s)}.`) + retry,
  ];
}

function endedBody(job) {
  if (job.status === "canceled") {
    return [
      h("p", { class: "big" }, "Cancelled"),
      h("p", {}, "This job has no result. The scan is kept, so you can run it again."),
    ];
  }
  return [
    h("p", { class: "big" }, job.error.title),
    h("p", { role: "alert" }, job.error.detail),
    h("p", { class: "small" }, `After ${plural(job.attempts, "attempt")}.`),
  ];
}
