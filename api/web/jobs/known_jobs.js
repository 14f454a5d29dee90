// The jobs that the page knows: those submitted in this browser, and the newest of the service.

import { getJob, listJobs } from "../net/api.js";
import { isTerminal } from "../net/job_updates.js";
import { readSaved, save } from "../ui/browser_storage.js";

const MAX_REMEMBERED = 200;
const LIST_LIMIT = 100;

/**
 * Each entry is `{ id, name, own, job }`. The name is the file's name: it is never sent to the
 * service, and is null for a job that was submitted elsewhere. Fires `change`, and `ended` with the
 * entry when a job of this browser ends while the page is open.
 */
export class KnownJobs extends EventTarget {
  #entries = new Map();
  #remembered = readSaved("jobs", []);

  constructor() {
    super();
    for (const { id, name } of this.#remembered) {
      this.#entries.set(id, { id, name, own: true, job: null });
    }
  }

  /** Entries whose job was loaded, newest first: ids sort by time. */
  get entries() {
    return [...this.#entries.values()]
      .filter((entry) => entry.job !== null)
      .sort((a, b) => (a.id < b.id ? 1 : -1));
  }

  /** Returns the entry of a job, or undefined. */
  get(id) {
    return this.#entries.get(id);
  }

  /** Saves a job as submitted in this browser, with the name of its file. */
  remember(job, name) {
    this.#entries.set(job.id, { id: job.id, name, own: true, job });
    this.#remembered = [{ id: job.id, name }, ...this.#remembered].slice(0, MAX_REMEMBERED);
    save("jobs", this.#remembered);
    this.#changed();
  }

  /** Updates a job with what the service returned. */
  put(job) {
    const entry = this.#entries.get(job.id) ?? { id: job.id, name: null, own: false, job: null };
    const previous = entry.job;
    // a response that arrives late must not make an ended job live again
    if (previous !== null && isTerminal(previous) && !isTerminal(job)) return;
    this.#entries.set(job.id, { ...entry, job });
    this.#changed();
    if (entry.own && previous !== null && !isTerminal(previous) && isTerminal(job)) {
      this.dispatchEvent(new CustomEvent("ended", { detail: this.#entries.get(job.id) }));
    }
  }

  /** Removes a job that was deleted. */
  forget(id) {
    this.#entries.delete(id);
    this.#remembered = this.#remembered.filter((remembered) => remembered.id !== id);
    save("jobs", this.#remembered);
    this.#changed();
  }

  /** Loads the newest jobs of the service, and the older live ones of this browser. */
  async refresh() {
    const jobs = await listJobs(LIST_LIMIT);
    for (const job of jobs) this.put(job);
    const listed = new Set(jobs.map((job) => job.id));
    const others = [...this.#entries.values()].filter(
      (entry) => !listed.has(entry.id) && (entry.job === null || !isTerminal(entry.job)),
    );
    await Promise.all(others.map((entry) => this.load(entry.id)));
    this.#changed();
  }

  /** Loads one job and returns it, or null if it was deleted. */
  async load(id) {
    try {
      const job = await getJob(id);
      this.put(job);
      return job;
    } catch (problem) {
      if (problem.status !== 404) throw problem;
      this.forget(id);
      return null;
    }
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
