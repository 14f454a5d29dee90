// Keeping live jobs up to date. A browser opens six connections to a server, so a few jobs are
// followed by events and the others are looked up together. A hidden page asks for nothing.

import { connection } from "../net/connection.js";
import { follow, isTerminal } from "../net/follow.js";

const STREAMS = 2;
const REFRESH_MS = 2000;

/** Others' new jobs are looked for once in so many rounds. */
const ROUNDS_FOR_OTHERS = 5;

/**
 * Watches the live jobs of `ledger`, the one that `selected()` names before all others, and looks
 * for new ones while `othersToo()`.
 */
export class Watch {
  #ledger;
  #selected;
  #followed = new Map();

  constructor(ledger, selected, othersToo) {
    this.#ledger = ledger;
    this.#selected = selected;
    ledger.addEventListener("change", () => this.review());
    document.addEventListener("visibilitychange", () => {
      this.review();
      if (!document.hidden) this.#refresh();
    });
    connection.addEventListener("change", () => {
      if (connection.reached) this.#refresh();
    });
    let rounds = 0;
    setInterval(() => {
      rounds += 1;
      const others = othersToo() && rounds % ROUNDS_FOR_OTHERS === 0;
      if (others || this.#live().length > this.#followed.size) this.#refresh();
    }, REFRESH_MS);
  }

  /** Follows those jobs that are worth a connection now, and leaves the others. */
  review() {
    const wanted = document.hidden ? [] : this.#live().slice(0, STREAMS);
    for (const [id, stop] of this.#followed) {
      if (!wanted.includes(id)) {
        stop();
        this.#followed.delete(id);
      }
    }
    for (const id of wanted) {
      if (this.#followed.has(id)) continue;
      const stop = follow(
        id,
        (job) => this.#ledger.put(job),
        () => this.#ledger.forget(id),
      );
      this.#followed.set(id, stop);
    }
  }

  /** Ids of live jobs: the selected one, then our own that run, then our own by age, then others. */
  #live() {
    const rank = ({ id, own, job }) =>
      id === this.#selected() ? 0 : !own ? 3 : job.status === "started" ? 1 : 2;
    return this.#ledger.entries
      .filter((entry) => !isTerminal(entry.job))
      .sort((a, b) => rank(a) - rank(b) || (a.id < b.id ? -1 : 1))
      .map((entry) => entry.id);
  }

  async #refresh() {
    if (document.hidden) return;
    try {
      await this.#ledger.refresh();
    } catch {
      // the banner tells, and the next round asks again
    }
  }
}
