// The scans that are being uploaded: two at once, the others wait.

import { newKey, uploadScan } from "../net/upload.js";

const MAX_UPLOADS = 2;

/** Fires `change` when an upload is added, updated or removed, and `accepted` with its new job. */
export class UploadQueue extends EventTarget {
  #all = [];

  /** Every scan that is not a job yet, in the order of submission. */
  get all() {
    return this.#all;
  }

  /** Whether any scan is still to be sent. */
  get pending() {
    return this.#all.some((upload) => upload.status !== "refused");
  }

  /**
   * Adds one scan: a file for each form field, its name, the model and the priority. With `show`
   * the result panel shows its job.
   */
  add({ name, files, model, priority, show }) {
    const size = Object.values(files).reduce((sum, file) => sum + file.size, 0);
    const state = { status: "waiting", sent: 0, problem: null, abort: null };
    this.#all.push({ key: newKey(), name, files, model, priority, show, size, ...state });
    this.#sendNext();
  }

  /** Sends a scan again that was refused, or whose connection broke. */
  sendAgain(upload) {
    Object.assign(upload, { status: "waiting", sent: 0, problem: null });
    this.#sendNext();
  }

  /** Stops an upload, or removes a refused one from the list. */
  drop(upload) {
    upload.abort?.();
    this.#remove(upload);
    this.#sendNext();
  }

  #sendNext() {
    const sending = this.#all.filter((upload) => upload.status === "sending").length;
    const next = this.#all.filter((upload) => upload.status === "waiting");
    for (const upload of next.slice(0, MAX_UPLOADS - sending)) this.#send(upload);
    this.#changed();
  }

  async #send(upload) {
    upload.status = "sending";
    const { job, abort } = uploadScan(upload, (sent) => {
      upload.sent = sent;
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
    this.#sendNext();
  }

  #remove(upload) {
    this.#all = this.#all.filter((other) => other !== upload);
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
