// The job on show: what it waits for, what became of it, and what can be done about it.

import { byId, h, say } from "../ui/dom.js";
import { facts } from "./facts.js";
import { isTerminal } from "../net/follow.js";
import { Reading } from "./reading.js";
import { about, count, moment, nameOf, percent, plural, STAGES, STATUS } from "../ui/words.js";

/** The right-hand side of the page; `actions` has cancel, again, purge and copyLink. */
export class Result {
  #actions;
  #reading = new Reading();
  #drawn = null;
  #bits = {};

  constructor(actions) {
    this.#actions = actions;
  }

  /** Shows that nothing is chosen. */
  showNothing() {
    this.#draw("nothing", "Result", () => [
      h("p", { class: "big" }, "No scan on show"),
      h("p", {}, "Hand in a scan and watch it go, or choose a job from the list."),
      h("p", {}, "To have a look without a scan of your own, try the sample."),
    ]);
  }

  /** Shows that a job is being asked for. */
  showLoading() {
    this.#draw("loading", "Loading…", () => [h("div", { class: "skeleton", "aria-hidden": "true" })]);
  }

  /** Shows that the service has no such job. */
  showGone() {
    this.#draw("gone", "This job is not here", () => [
      h("p", {}, "It was deleted, or kept for as long as the service keeps jobs and then removed."),
    ]);
  }

  /** Shows that the job could not be asked for. */
  showProblem(problem) {
    this.#draw(`problem ${problem.message}`, problem.title, () => [
      h("p", { role: "alert" }, problem.detail ?? ""),
    ]);
  }

  /** Shows a job as it is now. */
  show(entry) {
    const { job } = entry;
    const title = nameOf(entry);
    if (!isTerminal(job)) {
      this.#draw(`${job.id} live`, title, () => this.#liveBody());
      this.#update(job);
    } else if (job.status === "finished") {
      this.#draw(`${job.id} finished`, title, () => []);
      if (byId("reading").hidden) {
        byId("facts").replaceChildren(...facts(job));
        byId("reading").hidden = false;
        byId("result-body").hidden = true;
      }
      this.#reading.show(job);
    } else {
      this.#draw(`${job.id} ${job.status}`, title, () => endedBody(job));
    }
    say(byId("result-meta"), metaOf(job));
    this.#offer(entry);
  }

  /** Draws what `body` returns, unless just that is on show: focus and selection stay. */
  #draw(key, title, body) {
    say(byId("result-title"), title);
    byId("result-title").title = title;
    if (this.#drawn === key) return;
    this.#drawn = key;
    this.#reading.leave();
    byId("reading").hidden = true;
    byId("result-body").hidden = false;
    byId("result-body").replaceChildren(...body());
    byId("result-body").dataset.state = key.split(" ").at(-1);
    byId("result-actions").replaceChildren();
    say(byId("result-meta"), "\u00a0");
  }

  #liveBody() {
    const bits = {
      big: h("p", { class: "big" }),
      small: h("p", { class: "small" }),
      bar: h("progress", { max: "1", "aria-label": "Progress of this job" }),
      steps: h("ol", { class: "steps" }),
    };
    for (const [stage, words] of Object.entries({ queue: "Waiting its turn", ...STAGES })) {
      bits.steps.append(h("li", { "data-step": stage }, words));
    }
    this.#bits = bits;
    return [bits.big, bits.small, bits.bar, bits.steps];
  }

  #update(job) {
    const { big, small, bar, steps } = this.#bits;
    const [large, little] = liveWords(job);
    say(big, large);
    say(small, little);
    bar.value = job.progress;
    const now = job.status === "queued" ? "queue" : job.stage;
    const order = [...steps.children];
    const at = order.findIndex((step) => step.dataset.step === now);
    order.forEach((step, index) => {
      step.dataset.state = index < at ? "done" : index === at ? "now" : "ahead";
      if (index === at) step.setAttribute("aria-current", "step");
      else step.removeAttribute("aria-current");
    });
  }

  #offer(entry) {
    const place = byId("result-actions");
    if (place.children.length > 0) return;
    const button = (words, act, extra = "") =>
      h("button", { class: `button ${extra}`, type: "button", on: { click: act } }, words);
    const link = button("Copy link", async () => {
      say(link, (await this.#actions.copyLink(entry)) ? "Copied" : "Copy the address bar");
      setTimeout(() => say(link, "Copy link"), 2000);
    });
    place.append(link);
    if (!isTerminal(entry.job)) {
      place.append(button("Cancel", () => this.#actions.cancel(entry)));
      return;
    }
    place.append(
      button("Run again", () => this.#actions.again(entry)),
      twice(button("Delete", () => {}, "danger"), () => this.#actions.purge(entry)),
    );
  }
}

/** Has `button` ask once more before it acts. */
function twice(button, act) {
  const words = button.textContent;
  let armed = false;
  const disarm = () => {
    armed = false;
    say(button, words);
  };
  button.addEventListener("click", () => {
    if (armed) {
      act();
      return;
    }
    armed = true;
    say(button, "Really delete?");
  });
  button.addEventListener("blur", disarm);
  return button;
}

function metaOf(job) {
  return [
    STATUS[job.status],
    `${job.model.name} ${job.model.version}`,
    job.priority,
    `handed in ${moment(job.created_at)}`,
  ].join(" · ");
}

function liveWords(job) {
  if (job.status === "started") {
    return [percent(job.progress), STAGES[job.stage] ?? "With a worker"];
  }
  if (job.position === null) return ["Queued", ""];
  const again = job.attempts > 0 ? " A worker was lost; it goes again." : "";
  return [
    job.position === 0 ? "Next in line" : `${plural(job.position, "scan")} ahead`,
    (job.eta_s === null ? "The wait is not known yet." : `Done in ${about(job.eta_s)}.`) + again,
  ];
}

function endedBody(job) {
  if (job.status === "canceled") {
    return [
      h("p", { class: "big" }, "Cancelled"),
      h("p", {}, "It has no result. Its scan is kept, so that it can be run again."),
    ];
  }
  return [
    h("p", { class: "big" }, job.error.title),
    h("p", { role: "alert" }, job.error.detail),
    h("p", { class: "small" }, `After ${count(job.attempts)} ${job.attempts === 1 ? "attempt" : "attempts"}.`),
  ];
}
