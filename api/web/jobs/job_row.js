// One row of the list: a job.

import { isTerminal } from "../net/job_updates.js";
import { h, setText } from "../ui/dom.js";
import { percent, timeOfDay } from "../ui/format.js";
import { icon } from "../ui/icons.js";
import { findingText, nameOf, outlookText, STATUS } from "./job_text.js";

/** A job; `actions` has select, cancel and runAgain. */
export class JobRow {
  constructor(entry, actions) {
    this.name = h("span", { class: "job-name" });
    this.status = h("span", { class: "status" });
    this.line = h("span", { class: "job-line" });
    this.bar = h("progress", { max: "1", "aria-label": "Progress" });
    this.link = h(
      "a",
      {
        href: `/?job=${entry.id}`,
        class: "job-link",
        on: {
          click: (event) => {
            if (event.metaKey || event.ctrlKey || event.shiftKey) return;
            event.preventDefault();
            actions.select(entry.id);
          },
        },
      },
      h("span", { class: "job-first" }, this.name, this.status),
      this.line,
    );
    this.button = h("button", { class: "icon-button", type: "button" });
    this.button.addEventListener("click", () => {
      if (isTerminal(this.entry.job)) actions.runAgain(this.entry);
      else actions.cancel(this.entry);
    });
    this.element = h("li", { class: "job" }, this.link, this.button, this.bar);
  }

  update(entry, selected) {
    this.entry = entry;
    const { job } = entry;
    const live = !isTerminal(job);
    setText(this.name, nameOf(entry));
    this.name.title = nameOf(entry);
    setText(this.status, STATUS[job.status]);
    this.status.dataset.status = job.status;
    setText(this.line, detailText(job));
    this.bar.hidden = !live;
    this.bar.value = job.progress;
    if (selected) this.link.setAttribute("aria-current", "true");
    else this.link.removeAttribute("aria-current");
    this.element.classList.toggle("selected", selected);
    const action = live ? "Cancel" : "Run again";
    this.button.hidden = job.status === "finished";
    if (this.button.dataset.action !== action) {
      this.button.dataset.action = action;
      this.button.replaceChildren(icon(live ? "cross" : "again"));
    }
    this.button.setAttribute("aria-label", `${action}: ${nameOf(entry)}`);
    this.button.title = action;
  }
}

function detailText(job) {
  if (job.status === "finished") {
    return `${findingText(job.result.tumor)} · ${timeOfDay(job.finished_at)}`;
  }
  if (job.status === "failed") return job.error?.title ?? "The job failed";
  if (job.status === "canceled") return `Cancelled · ${timeOfDay(job.created_at)}`;
  if (job.status === "started") return `${outlookText(job)} · ${percent(job.progress)}`;
  return outlookText(job);
}
