// The list of jobs and of uploads on their way, each in a row that is changed in place.

import { byId, say } from "../ui/dom.js";
import { JobRow, UploadRow } from "./rows.js";

const EMPTY = {
  own: "Nothing handed in from this browser yet.",
  all: "The service has no jobs.",
};

/** Shows what `ledger` and `uploads` hold; `actions` has select, cancel and again. */
export class JobList {
  #ledger;
  #uploads;
  #actions;
  #rows = new Map();
  #selected = null;
  #whose = "own";
  #loaded = false;

  constructor(ledger, uploads, actions) {
    this.#ledger = ledger;
    this.#uploads = uploads;
    this.#actions = actions;
    ledger.addEventListener("change", () => this.#draw());
    uploads.addEventListener("change", () => this.#draw());
    for (const radio of document.getElementsByName("whose")) {
      radio.addEventListener("change", () => this.show(radio.value));
    }
  }

  /** Whether others' jobs are on the list too. */
  get showsAll() {
    return this.#whose === "all";
  }

  /** Shows one's own jobs or all. */
  show(whose) {
    this.#whose = whose;
    for (const radio of document.getElementsByName("whose")) radio.checked = radio.value === whose;
    this.#draw();
  }

  /** Marks the job that is on show. */
  select(id) {
    this.#selected = id;
    this.#draw();
  }

  /** Says that the service was asked, with `problem` where it did not answer. */
  loaded(problem = null) {
    this.#loaded = true;
    this.#draw();
    if (problem !== null && this.#rows.size === 0) say(byId("jobs-state"), problem.message);
  }

  #draw() {
    const entries = this.#ledger.entries.filter((entry) => entry.own || this.#whose === "all");
    const wanted = [
      ...this.#uploads.all.toReversed().map((upload) => this.#row(upload.key, () => new UploadRow(upload, this.#uploads))),
      ...entries.map((entry) => this.#row(entry.id, () => new JobRow(entry, this.#actions))),
    ];
    for (const entry of entries) this.#rows.get(entry.id).update(entry, entry.id === this.#selected);
    for (const upload of this.#uploads.all) this.#rows.get(upload.key).update();
    this.#arrange(wanted);
    const state = byId("jobs-state");
    state.hidden = wanted.length > 0;
    say(state, this.#loaded ? EMPTY[this.#whose] : "Loading…");
  }

  #row(key, make) {
    if (!this.#rows.has(key)) this.#rows.set(key, make());
    return key;
  }

  /** Puts the wanted rows in order, moving as few as may be so that focus stays where it is. */
  #arrange(wanted) {
    const list = byId("jobs");
    for (const [key, row] of this.#rows) {
      if (wanted.includes(key)) continue;
      row.element.remove();
      this.#rows.delete(key);
    }
    wanted.forEach((key, index) => {
      const element = this.#rows.get(key).element;
      const there = list.children[index];
      if (there !== element) list.insertBefore(element, there ?? null);
    });
  }
}
