// One row of the list: a job, or an upload on its way.

import { h, say } from "../ui/dom.js";
import { isTerminal } from "../net/follow.js";
import { icon } from "../ui/icons.js";
import { bytes, finding, moment, nameOf, outlook, percent, STATUS } from "../ui/words.js";

/** A job; `actions` has select, cancel and again. */
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
      if (isTerminal(this.entry.job)) actions.again(this.entry);
      else actions.cancel(this.entry);
    });
    this.element = h("li", { class: "job" }, this.link, this.button, this.bar);
  }

  update(entry, selected) {
    this.entry = entry;
    const { job } = entry;
    const live = !isTerminal(job);
    say(this.name, nameOf(entry));
    this.name.title = nameOf(entry);
    say(this.status, STATUS[job.status]);
    this.status.dataset.status = job.status;
    say(this.line, lineOf(job));
    this.bar.hidden = !live;
    this.bar.value = job.progress;
    if (selected) this.link.setAttribute("aria-current", "true");
    else this.link.removeAttribute("aria-current");
    this.element.classList.toggle("selected", selected);
    const does = live ? "Cancel" : "Run again";
    this.button.hidden = job.status === "finished";
    if (this.button.dataset.does !== does) {
      this.button.dataset.does = does;
      this.button.replaceChildren(icon(live ? "cross" : "again"));
    }
    this.button.setAttribute("aria-label", `${does}: ${nameOf(entry)}`);
    this.button.title = does;
  }
}

/** A scan that is not a job yet. */
export class UploadRow {
  constructor(upload, uploads) {
    this.upload = upload;
    this.status = h("span", { class: "status" });
    this.line = h("span", { class: "job-line" });
    this.bar = h("progress", { max: "1", "aria-label": `Upload of ${upload.name}` });
    const labelled = (does) => ({
      class: "icon-button",
      type: "button",
      title: does,
      "aria-label": `${does}: ${upload.name}`,
    });
    this.again = h("button", labelled("Send again"), icon("again"));
    this.again.addEventListener("click", () => uploads.again(upload));
    this.drop = h("button", labelled("Leave out"), icon("cross"));
    this.drop.addEventListener("click", () => uploads.drop(upload));
    this.element = h(
      "li",
      { class: "job" },
      h(
        "div",
        { class: "job-link" },
        h(
          "span",
          { class: "job-first" },
          h("span", { class: "job-name", title: upload.name }, upload.name),
          this.status,
        ),
        this.line,
      ),
      this.again,
      this.drop,
      this.bar,
    );
  }

  update() {
    const { status, share, size, problem } = this.upload;
    const refused = status === "refused";
    const ended = problem?.status === 0 ? "Not sent" : "Refused";
    say(this.status, refused ? ended : status === "waiting" ? "Waiting" : "Uploading");
    this.status.dataset.status = refused ? "failed" : "queued";
    say(
      this.line,
      refused
        ? problem.status === 0 ? problem.title : (problem.detail ?? problem.title)
        : status === "sending" && share === 1
          ? "Sent; the service reads it"
          : `${percent(share)} of ${bytes(size)}`,
    );
    if (refused) this.line.setAttribute("role", "alert");
    else this.line.removeAttribute("role");
    this.element.classList.toggle("refused", refused);
    this.bar.hidden = refused;
    this.bar.value = share;
    this.again.hidden = !refused;
  }
}

function lineOf(job) {
  if (job.status === "finished") {
    return `${finding(job.result.tumor)} · ${moment(job.finished_at)}`;
  }
  if (job.status === "failed") return job.error?.title ?? "It failed";
  if (job.status === "canceled") return `Cancelled · ${moment(job.created_at)}`;
  if (job.status === "started") return `${outlook(job)} · ${percent(job.progress)}`;
  return outlook(job);
}
