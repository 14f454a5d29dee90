// Updating the live jobs. A browser opens at most six connections to one server, so two jobs have
// an event stream, and a request every two seconds updates all others. A hidden page sends none.

import { connection } from "../net/connection.js";
import { followJob, isTerminal } from "../net/job_updates.js";

const MAX_STREAMS = 2;
const REFRESH_MS = 2000;

/** Jobs submitted elsewhere are loaded once in this many rounds. */
const ROUNDS_FOR_OTHERS = 5;

/**
 * Updates the live jobs of `knownJobs`; the job with the id `selected()` comes first. While
 * `showsAll()` is true, it also loads new jobs that were submitted elsewhere.
 */
export class LiveUpdates {
  #knownJobs;
  #selected;
  #followed = new Map();

  constructor(knownJobs, selected, showsAll) {
    this.#knownJobs = knownJobs;
    this.#selected = selected;
    knownJobs.addEventListener("change", () => this.chooseStreams());
    document.addEventListener("visibilitychange", () => {
      this.chooseStreams();
      if (!document.hidden) this.#refresh();
    });
    connection.addEventListener("change", () => {
      if (connection.reachable) this.#refresh();
    });
    let rounds = 0;
    setInterval(() => {
      rounds += 1;
      const others = showsAll() && rounds % ROUNDS_FOR_OTHERS === 0;
      if (others || this.#live().length > this.#followed.size) this.#refresh();
    }, REFRESH_MS);
  }

  /** Opens event streams for the most important live jobs, and closes the other streams. */
  chooseStreams() {
    const wanted = document.hidden ? [] : this.#live().slice(0, MAX_STREAMS);
    for (const [id, stop] of this.#followed) {
      if (!wanted.includes(id)) {
        stop();
        this.#followed.delete(id);
      }
    }
    for (const id of wanted) {
      if (this.#followed.has(id)) continue;
      const stop = followJob(
        id,
        (job) => this.#knownJobs.put(job),
        () => this.#knownJobs.forget(id),
      );
      this.#followed.set(id, stop);
    }
  }

  /** Ids of live jobs: the selected one, then this browser's started, its queued, then others. */
  #live() {
    const rank = ({ id, own, job }) =>
      id === this.#selected() ? 0 : !own ? 3 : job.status === "started" ? 1 : 2;
    return this.#knownJobs.entries
      .filter((entry) => !isTerminal(entry.job))
      .sort((a, b) => rank(a) - rank(b) || (a.id < b.id ? -1 : 1))
      .map((entry) => entry.id);
  }

  async #refresh() {
    if (document.hidden) return;
    try {
      await this.#knownJobs.refresh();
    } catch {
      // the banner shows that the service cannot be reached; the next round tries again
    }
  }
}
