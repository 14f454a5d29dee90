// The list of uploads and jobs. A row is updated in place, so that it keeps the focus.

import { byId, setText } from "../ui/dom.js";
import { JobRow } from "./job_row.js";
import { UploadRow } from "./upload_row.js";

const EMPTY = {
  own: "No scan was submitted from this browser yet.",
  all: "The service has no jobs.",
};

/** Shows `knownJobs` and `uploads`; `actions` has select, cancel and runAgain. */
export class JobList {
  #knownJobs;
  #uploads;
  #actions;
  #rows = new Map();
  #selected = null;
  #whose = "own";
  #loaded = false;

  constructor(knownJobs, uploads, actions) {
    this.#knownJobs = knownJobs;
    this.#uploads = uploads;
    this.#actions = actions;
    knownJobs.addEventListener("change", () => this.#draw());
    uploads.addEventListener("change", () => this.#draw());
    for (const radio of document.getElementsByName("whose")) {
      radio.addEventListener("change", () => this.show(radio.value));
    }
  }

  /** Whether the list includes jobs that were submitted elsewhere. */
  get showsAll() {
    return this.#whose === "all";
  }

  /** Shows the jobs of this browser (`own`) or all jobs (`all`). */
  show(whose) {
    this.#whose = whose;
    for (const radio of document.getElementsByName("whose")) radio.checked = radio.value === whose;
    this.#draw();
  }

  /** Marks the job that the result panel shows. */
  select(id) {
    this.#selected = id;
    this.#draw();
  }

  /** Ends the text "Loading…"; `problem` is the reason if the jobs could not be loaded. */
  loaded(problem = null) {
    this.#loaded = true;
    this.#draw();
    if (problem !== null && this.#rows.size === 0) setText(byId("jobs-state"), problem.message);
  }

  #draw() {
    const entries = this.#knownJobs.entries.filter((entry) => entry.own || this.#whose === "all");
    const wanted = [
      ...this.#uploads.all
        .toReversed()
        .map((upload) => this.#ensureRow(upload.key, () => new UploadRow(upload, this.#uploads))),
      ...entries.map((entry) => this.#ensureRow(entry.id, () => new JobRow(entry, this.#actions))),
    ];
    for (const entry of entries) this.#rows.get(entry.id).update(entry, entry.id === this.#selected);
    for (const upload of this.#uploads.all) this.#rows.get(upload.key).update();
    this.#arrange(wanted);
    const state = byId("jobs-state");
    state.hidden = wanted.length > 0;
    setText(state, this.#loaded ? EMPTY[this.#whose] : "Loading…");
  }

  #ensureRow(key, create) {
    if (!this.#rows.has(key)) this.#rows.set(key, create());
    return key;
  }

  /** Puts the wanted rows in order. It moves as few as possible, so that the focus is kept. */
  #arrange(wanted) {
    const list = byId("jobs");
    for (const [key, row] of this.#rows) {
      if (wanted.includes(key)) continue;
      row.element.remove();
      this.#rows.delete(key);
    }
    wanted.forEach((key, index) => {
      const element = this.#rows.get(key).element;
      const current = list.children[index];
      if (current !== element) list.insertBefore(element, current ?? null);
    });
  }
}
