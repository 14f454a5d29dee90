// The scans on their way to the service: a few at once, the others wait their turn.

import { newKey, send } from "../net/upload.js";

const AT_ONCE = 2;

/** Fires `change` when an upload appears, moves or goes, and `accepted` with its new job. */
export class Uploads extends EventTarget {
  #all = [];

  /** Every upload that is not a job yet, in the order in which they were handed in. */
  get all() {
    return this.#all;
  }

  /** Whether anything is still to be sent. */
  get underWay() {
    return this.#all.some((upload) => upload.status !== "refused");
  }

  /**
   * Takes one scan: `files` by field, under `name`, for a model and with a priority; `show` asks
   * for its job to be put on show.
   */
  add({ name, files, model, priority, show }) {
    const size = Object.values(files).reduce((sum, file) => sum + file.size, 0);
    const state = { status: "waiting", share: 0, problem: null, abort: null };
    this.#all.push({ key: newKey(), name, files, model, priority, show, size, ...state });
    this.#go();
  }

  /** Sends an upload again that was refused or lost. */
  again(upload) {
    Object.assign(upload, { status: "waiting", share: 0, problem: null });
    this.#go();
  }

  /** Stops an upload, or takes a refused one off the list. */
  drop(upload) {
    upload.abort?.();
    this.#remove(upload);
    this.#go();
  }

  #go() {
    const sending = this.#all.filter((upload) => upload.status === "sending").length;
    const next = this.#all.filter((upload) => upload.status === "waiting");
    for (const upload of next.slice(0, AT_ONCE - sending)) this.#send(upload);
    this.#changed();
  }

  async #send(upload) {
    upload.status = "sending";
    const { job, abort } = send(upload, (share) => {
      upload.share = share;
      this.#changed();
    });
    upload.abort = abort;
    try {
      const accepted = await job;
      this.#remove(upload);
      const { name, show } = upload;
      this.dispatchEvent(new CustomEvent("accepted", { detail: { job: accepted, name, show } }));
    } catch (problem) {
      if (problem.name === "AbortError") return;
      Object.assign(upload, { status: "refused", problem, abort: null });
    }
    this.#go();
  }

  #remove(upload) {
    this.#all = this.#all.filter((other) => other !== upload);
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
