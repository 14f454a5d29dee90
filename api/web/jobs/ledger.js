// The jobs that the page knows: this browser's own, which it remembers, and the service's newest.

import { getJob, listJobs } from "../net/api.js";
import { isTerminal } from "../net/follow.js";
import { keep, recall } from "../ui/memory.js";

const MOST_REMEMBERED = 200;
const PAGE = 100;

/**
 * Each entry is `{ id, name, own, job }`; the name is the file's, which never leaves the browser,
 * and is null for a job that was handed in elsewhere. Fires `change`; `ended` with the entry when
 * a job of one's own that was seen live becomes terminal.
 */
export class Ledger extends EventTarget {
  #entries = new Map();
  #remembered = recall("jobs", []);

  constructor() {
    super();
    for (const { id, name } of this.#remembered) {
      this.#entries.set(id, { id, name, own: true, job: null });
    }
  }

  /** Entries whose job is known, newest first: ids sort by time. */
  get entries() {
    return [...this.#entries.values()]
      .filter((entry) => entry.job !== null)
      .sort((a, b) => (a.id < b.id ? 1 : -1));
  }

  /** The entry of a job, if the page knows it. */
  get(id) {
    return this.#entries.get(id);
  }

  /** Remembers a job as this browser's own, under the name of its file. */
  remember(job, name) {
    this.#entries.set(job.id, { id: job.id, name, own: true, job });
    this.#remembered = [{ id: job.id, name }, ...this.#remembered].slice(0, MOST_REMEMBERED);
    keep("jobs", this.#remembered);
    this.#changed();
  }

  /** Takes in what the service says of a job. */
  put(job) {
    const entry = this.#entries.get(job.id) ?? { id: job.id, name: null, own: false, job: null };
    const was = entry.job;
    // a slow answer must not take a job back from its end
    if (was !== null && isTerminal(was) && !isTerminal(job)) return;
    this.#entries.set(job.id, { ...entry, job });
    this.#changed();
    if (entry.own && was !== null && !isTerminal(was) && isTerminal(job)) {
      this.dispatchEvent(new CustomEvent("ended", { detail: this.#entries.get(job.id) }));
    }
  }

  /** Forgets a job that was purged. */
  forget(id) {
    this.#entries.delete(id);
    this.#remembered = this.#remembered.filter((kept) => kept.id !== id);
    keep("jobs", this.#remembered);
    this.#changed();
  }

  /** Asks the service for its newest jobs and for those of ours that are older. */
  async refresh() {
    const jobs = await listJobs(PAGE);
    for (const job of jobs) this.put(job);
    const listed = new Set(jobs.map((job) => job.id));
    const others = [...this.#entries.values()].filter(
      (entry) => !listed.has(entry.id) && (entry.job === null || !isTerminal(entry.job)),
    );
    await Promise.all(others.map((entry) => this.load(entry.id)));
    this.#changed();
  }

  /** Asks for one job; returns it, or null if the service has it no more. */
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
